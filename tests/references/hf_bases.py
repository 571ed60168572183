"""The tiny models of `hf_peft.py` in keras-hub, with the golden weights mapped layer by layer: what the tests start from."""

from pathlib import Path

import keras
import keras_hub
import numpy as np
from safetensors.numpy import load_file

from keras_transfer.core.selection import named_layers

GOLDEN = Path(__file__).with_name("golden")
_SIZES = {"vocabulary_size": 60, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
_BERT = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
    "feedforward_layer_norm": "output.LayerNorm",
}
_DISTILBERT = {
    "self_attention_layer/query": "attention.q_lin",
    "self_attention_layer/key": "attention.k_lin",
    "self_attention_layer/value": "attention.v_lin",
    "self_attention_layer/attention_output": "attention.out_lin",
    "self_attention_layer_norm": "sa_layer_norm",
    "feedforward_intermediate_dense": "ffn.lin1",
    "feedforward_output_dense": "ffn.lin2",
    "feedforward_layer_norm": "output_layer_norm",
}
_LLAMA = {
    "self_attention/query": "self_attn.q_proj",
    "self_attention/key": "self_attn.k_proj",
    "self_attention/value": "self_attn.v_proj",
    "self_attention/attention_output": "self_attn.o_proj",
    "self_attention_layernorm": "input_layernorm",
    "feedforward_gate_dense": "mlp.gate_proj",
    "feedforward_intermediate_dense": "mlp.up_proj",
    "feedforward_output_dense": "mlp.down_proj",
    "feedforward_layernorm": "post_attention_layernorm",
}
_WORDS = {"token_embedding": "word_embeddings", "position_embedding": "position_embeddings"}
_WORDS |= {"embeddings_layer_norm": "LayerNorm"}
# Of each family: its blocks, the layers of a block, the embeddings, the head.
_FAMILIES = {
    "bert": ("bert.encoder.layer", _BERT, {**_WORDS, "segment_embedding": "token_type_embeddings"},
             {"pooled_dense": "bert.pooler.dense", "logits": "classifier"}),
    "distilbert": ("distilbert.transformer.layer", _DISTILBERT, _WORDS,
                   {"pooled_dense": "pre_classifier", "logits": "classifier"}),
    "roberta": ("roberta.encoder.layer", _BERT, _WORDS, {"pooled_dense": "classifier.dense", "logits": "classifier.out_proj"}),
    "llama": ("model.layers", _LLAMA, {}, {"sequence_output_layernorm": "model.norm"}),
}  # fmt: skip


def build(kind: str) -> keras.Model:
    """A classifier (of Llama: the language model) of keras-hub with the weights of golden/`kind`.safetensors."""
    if kind == "llama":
        backbone = keras_hub.models.LlamaBackbone(**_SIZES, num_query_heads=4, num_key_value_heads=2)
        model = keras_hub.models.LlamaCausalLM(backbone=backbone, preprocessor=None)
    else:
        name = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}[kind]
        make = getattr(keras_hub.models, f"{name}Backbone")
        backbone = make(**_SIZES, num_heads=2, max_sequence_length=20, dropout=0.0)
        model = getattr(keras_hub.models, f"{name}TextClassifier")(backbone=backbone, num_classes=3)
    fill(model, kind)
    return model


def inputs(kind: str) -> dict[str, np.ndarray]:
    """Token ids and mask of `hf_peft.tokens`, as keras-hub wants them."""
    ids = np.random.default_rng(7).integers(5, 60, (3, 9)).astype("int32")
    mask = (np.arange(9)[None] < np.array([[9], [6], [4]])).astype("int32")
    ids = np.where(mask == 1, ids, 1 if kind == "roberta" else 0).astype("int32")
    return {"token_ids": ids, "padding_mask": mask} | ({"segment_ids": np.zeros_like(ids)} if kind == "bert" else {})


def fill(model: keras.Model, kind: str) -> None:
    """Copy the golden weights: every array of the file is used once, every variable of the model filled once."""
    source = load_file(GOLDEN / f"{kind}.safetensors")
    if kind == "roberta":  # its first two positions are never read, and its one token type goes into the positions
        token_type = source.pop("roberta.embeddings.token_type_embeddings.weight")[0]
        positions = source["roberta.embeddings.position_embeddings.weight"]
        source["roberta.embeddings.position_embeddings.weight"] = positions[2:] + token_type
    filled = set()
    for variable, name in _places(model, kind):
        value = source.pop(name)
        table = variable.name.endswith("embeddings") and "reverse" not in variable.name  # a table is not turned
        variable.assign((value if table else value.T).reshape(variable.shape))
        filled.add(id(variable))
    assert not source, f"not used: {list(source)}"
    assert filled == {id(variable) for variable in model.weights}


def _places(model, kind):
    """Each variable with the name of its array."""
    blocks, inner, embeddings, head = _FAMILIES[kind]
    places = {f"transformer_layer_{i}/{path}": f"{blocks}.{i}.{name}" for i in range(2) for path, name in inner.items()}
    places |= {path: f"{kind}.embeddings.{name}" for path, name in embeddings.items()} | head
    for tail, name in places.items():
        (layer,) = (one for path, one in named_layers(model) if path == tail or path.endswith("/" + tail))
        for variable, ending in zip(layer.weights, ("weight", "bias"), strict=False):
            yield variable, f"{name}.{ending}"
    if kind == "llama":
        table = model.backbone.get_layer("token_embedding")
        yield table.embeddings, "model.embed_tokens.weight"
        yield table.reverse_embeddings, "lm_head.weight"
