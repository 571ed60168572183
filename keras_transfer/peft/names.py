"""HF PEFT's names of modules and our layer paths, both ways, for the families whose golden files prove them."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import keras

from ..core.selection import NamedLayer, named_layers
from ..core.surgery import own_variables

_BLOCK = "transformer_layer_{}/"


class Family(NamedTuple):
    """One architecture: layer paths in the backbone (`{}` is a block's number), and beside it, with PEFT's names."""

    root: str  # what PEFT puts before the backbone's modules, in a model that has a head
    modules: dict[str, str]
    head: dict[str, str]


# The layers of keras-hub's TransformerEncoder, which BERT and its relatives share.
_ENCODER = (
    "self_attention_layer/query", "self_attention_layer/key", "self_attention_layer/value",
    "self_attention_layer/attention_output", "feedforward_intermediate_dense", "feedforward_output_dense",
    "self_attention_layer_norm", "feedforward_layer_norm",
)  # fmt: skip


def _encoder(block: str, names: str) -> dict[str, str]:
    """PEFT's names, separated by spaces, for the layers of `_ENCODER`, and that of the norm before the first block."""
    inside = zip(_ENCODER, names.split(), strict=True)
    return {_BLOCK + ours: f"{block}.{{}}.{theirs}" for ours, theirs in inside} | {
        "embeddings_layer_norm": "embeddings.LayerNorm"
    }


_BERT = _encoder(
    "encoder.layer",
    "attention.self.query attention.self.key attention.self.value attention.output.dense intermediate.dense output.dense "
    "attention.output.LayerNorm output.LayerNorm",
)
_DISTIL = _encoder(
    "transformer.layer",
    "attention.q_lin attention.k_lin attention.v_lin attention.out_lin ffn.lin1 ffn.lin2 sa_layer_norm output_layer_norm",
)
_WORDS = "embeddings.word_embeddings"
_LLAMA = {
    "token_embedding": "embed_tokens",
    "sequence_output_layernorm": "norm",
    _BLOCK + "self_attention/query": "layers.{}.self_attn.q_proj",
    _BLOCK + "self_attention/key": "layers.{}.self_attn.k_proj",
    _BLOCK + "self_attention/value": "layers.{}.self_attn.v_proj",
    _BLOCK + "self_attention/attention_output": "layers.{}.self_attn.o_proj",
    _BLOCK + "feedforward_gate_dense": "layers.{}.mlp.gate_proj",
    _BLOCK + "feedforward_intermediate_dense": "layers.{}.mlp.up_proj",
    _BLOCK + "feedforward_output_dense": "layers.{}.mlp.down_proj",
    _BLOCK + "self_attention_layernorm": "layers.{}.input_layernorm",
    _BLOCK + "feedforward_layernorm": "layers.{}.post_attention_layernorm",
}
FAMILIES = {
    "BertBackbone": Family(
        "bert.", {**_BERT, "token_embedding": _WORDS, "pooled_dense": "pooler.dense"}, {"logits": "classifier"}
    ),
    "DistilBertBackbone": Family(
        "distilbert.",
        {**_DISTIL, "token_and_position_embedding/token_embedding": _WORDS},
        {"pooled_dense": "pre_classifier", "logits": "classifier"},
    ),
    "RobertaBackbone": Family(
        "roberta.",
        {**_BERT, "embeddings/token_embedding": _WORDS},
        {"pooled_dense": "classifier.dense", "logits": "classifier.out_proj"},
    ),
    "LlamaBackbone": Family("model.", _LLAMA, {}),
}


class Names(NamedTuple):
    """Every layer path of a model with PEFT's name for it; `family` is None where we know no golden file."""

    of_path: dict[str, str]
    family: str | None

    @property
    def of_module(self) -> dict[str, str]:
        """Our path for each of PEFT's names."""
        return {name: path for path, name in self.of_path.items()}


def module_names(model: keras.Model, paths: Iterable[str] | None = None) -> Names:
    """PEFT's names for the layers of `model`, at `paths` (by default where they stand).

    BERT, DistilBERT, RoBERTa (XLM-RoBERTa with it) and Llama of keras-hub have the names that `transformers` gives them,
    so that HF PEFT reads our files and we its. Any other model has its own paths, with dots: the file has the same layout,
    and is for Keras.

    Example: `module_names(model).of_path["bert_backbone/pooled_dense"]` is `"bert.pooler.dense"`.
    """
    layers = named_layers(model)
    paths = [path for path, _ in layers] if paths is None else list(paths)
    kinds = [("", model), *layers]
    found = next(((path, kind) for path, layer in kinds for kind in _kinds(layer) if kind in FAMILIES), None)
    if found is None:
        return Names({path: path.replace("/", ".") for path in paths}, None)
    home, kind = found
    family = FAMILIES[kind]
    inside = f"{home}/" if home else ""
    root = family.root if home else ""  # a bare backbone is a model without a head, there too
    head = family.head if _head_is_theirs(layers, inside, family) else {}
    names = {}
    for path in paths:
        theirs = _translate(path.removeprefix(inside), family.modules) if path.startswith(inside) else None
        known = root + theirs if theirs else head.get(path.split("/")[-1])
        names[path] = known or path.replace("/", ".")
    return Names(names, kind)


def _head_is_theirs(layers: list[NamedLayer], inside: str, family: Family) -> bool:
    """Whether the layers beside the backbone are those of the classifier in `transformers`; another pooling is not."""
    beside = [layer for path, layer in layers if inside and not f"{path}/".startswith(inside)]
    ends = {one.name for one in beside if own_variables(one)}
    pools = [one for one in beside if one.name == "pooling" and not isinstance(one, keras.layers.Identity)]
    return ends == set(family.head) and not pools


def _kinds(layer: keras.layers.Layer) -> list[str]:
    return [one.__name__ for one in type(layer).__mro__]


def _translate(path: str, table: dict[str, str]) -> str | None:
    number = re.search(r"(?<=_)\d+(?=/)", path)
    known = table.get(path if number is None else path[: number.start()] + "{}" + path[number.end() :])
    return known.format(number[0]) if known and number else known


def shortest_targets(targets: Iterable[str], modules: Iterable[str]) -> list[str]:
    """What `target_modules` must hold so that PEFT, which goes by the ends of names, takes `targets` of `modules` and no others.

    >>> shortest_targets(["a.0.query", "a.1.query"], ["a.0.query", "a.1.query", "a.0.key"])
    ['query']
    """
    wanted, modules = set(targets), list(modules)
    for length in (1, 2):
        tails = sorted({".".join(name.split(".")[-length:]) for name in wanted})
        if wanted == {name for name in modules if any(name == tail or name.endswith("." + tail) for tail in tails)}:
            return tails
    return sorted(wanted)
