"""Golden files of HF PEFT: tiny random models, their adapters and logits, and whether PEFT reads what we write.

    python tests/references/hf_peft.py make             with torch, transformers, peft: writes golden/ (was run once)
    python tests/references/hf_peft.py write FOLDER     with Keras: our own adapters, written for PEFT, and our logits
    python tests/references/hf_peft.py check FOLDER     with torch, transformers, peft: reads those, prints the differences
                                                        and records them in golden/peft_reads_ours.json

The tests need none of torch, transformers and peft: they read golden/. BERT stands here with the tanh form of GELU, which
is keras-hub's; a published BERT has the exact form, and keras-hub differs from it by up to 5e-4 an activation.
"""

import json
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("golden")
VOCABULARY, WIDTH, HEADS, LAYERS, INNER, LENGTH, CLASSES = 60, 16, 2, 2, 24, 20, 3
BERT_ALL = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense", "word_embeddings"]
CASES = {  # name: (base, settings of PEFT)
    "bert_lora": ("bert", {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]}),
    "bert_rslora": (
        "bert",
        {"r": 3, "lora_alpha": 6, "use_rslora": True, "target_modules": BERT_ALL, "bias": "lora_only",
         "modules_to_save": ["pooler", "classifier"]},
    ),
    "bert_bias": ("bert", {"r": 2, "lora_alpha": 2, "target_modules": ["query"], "bias": "all"}),
    "bert_prompt": ("bert", {"num_virtual_tokens": 4}),
    "distilbert_lora": (
        "distilbert",
        {"r": 2, "lora_alpha": 4, "target_modules": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"],
         "modules_to_save": ["pre_classifier", "classifier"]},
    ),
    "roberta_lora": ("roberta", {"r": 2, "lora_alpha": 6, "target_modules": ["query", "value", "intermediate.dense"]}),
    "llama_lora": (
        "llama",
        {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
    ),
}  # fmt: skip

# PEFT's words and ours.
OURS = {
    "r": "rank", "lora_alpha": "alpha", "use_rslora": "rslora", "bias": "bias", "target_modules": "where",
    "modules_to_save": "train", "num_virtual_tokens": "length",
}  # fmt: skip
TARGETS = {
    "attention.output.dense": "attention_output", "out_lin": "attention_output", "intermediate.dense": "feedforward_intermediate_dense",
    "lin1": "feedforward_intermediate_dense", "output.dense": "feedforward_output_dense", "lin2": "feedforward_output_dense",
    "word_embeddings": "token_embedding", "q_lin": "query", "k_lin": "key", "v_lin": "value", "pooler": "pooled_dense",
    "pre_classifier": "pooled_dense", "classifier": "logits",
}  # fmt: skip


def tokens() -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, (3, 9): three texts, two of them padded."""
    ids = np.random.default_rng(7).integers(5, VOCABULARY, (3, 9)).astype("int32")
    mask = (np.arange(9)[None] < np.array([[9], [6], [4]])).astype("int32")
    return np.where(mask == 1, ids, 0).astype("int32"), mask


def make_base(kind: str):
    """A small random model of transformers, in evaluation mode."""
    import torch
    import transformers as hf

    torch.manual_seed(sorted({base for base, _ in CASES.values()}).index(kind))
    vocabulary = {"vocab_size": VOCABULARY}
    encoder = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
    }
    if kind == "bert":
        given = {"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": LENGTH, "num_labels": CLASSES}
        model = hf.BertForSequenceClassification(hf.BertConfig(**vocabulary, **encoder, **given))
    elif kind == "distilbert":
        given = {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER, "num_labels": CLASSES}
        given |= {"max_position_embeddings": LENGTH}
        model = hf.DistilBertForSequenceClassification(hf.DistilBertConfig(**vocabulary, **given))
    elif kind == "roberta":
        given = {"max_position_embeddings": LENGTH + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
        model = hf.RobertaForSequenceClassification(
            hf.RobertaConfig(**vocabulary, **encoder, **given, num_labels=CLASSES)
        )
    else:
        given = {"max_position_embeddings": LENGTH, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
        given |= {"num_attention_heads": 4, "num_key_value_heads": 2}
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**vocabulary, **(encoder | given)))
    with torch.no_grad():  # livelier than the initial weights, so that a wrong one shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def logits_of(model, kind: str) -> np.ndarray:
    """What a model of transformers or peft answers to `tokens()`."""
    import torch

    ids, mask = tokens()
    ids = np.where(mask == 1, ids, 1) if kind == "roberta" else ids  # Roberta pads with 1 and counts positions by it
    given = {"input_ids": torch.tensor(ids, dtype=torch.long), "attention_mask": torch.tensor(mask, dtype=torch.long)}
    with torch.no_grad():
        return model(**given).logits.numpy()


def make() -> None:
    """Write the bases, the adapters as PEFT saves them, and the logits of both."""
    import peft
    import torch
    from safetensors.torch import save_file

    logits = {}
    for kind in dict.fromkeys(base for base, _ in CASES.values()):
        model = make_base(kind)
        state = {name: value.clone() for name, value in model.state_dict().items() if "position_ids" not in name}
        save_file(state, GOLDEN / f"{kind}.safetensors")
        logits[kind] = logits_of(model, kind)
    for name, (kind, settings) in CASES.items():
        config = peft.PromptTuningConfig if "num_virtual_tokens" in settings else peft.LoraConfig
        task = "CAUSAL_LM" if kind == "llama" else "SEQ_CLS"
        torch.manual_seed(1)
        model = peft.get_peft_model(make_base(kind), config(task_type=task, base_model_name_or_path=kind, **settings))
        with torch.no_grad():  # also B, which PEFT starts at zero, and the saved modules
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        logits[name] = logits_of(model.eval(), kind)
        model.save_pretrained(GOLDEN / name)
        (GOLDEN / name / "README.md").unlink()
        print(name, "moves the logits by", float(np.abs(logits[name] - logits[kind]).max()))
    np.savez_compressed(GOLDEN / "logits.npz", **logits)


def write(folder: Path) -> None:
    """Inject, move every weight that trains, and save: what PEFT is to read, with our logits."""
    import keras
    from hf_bases import build, inputs  # beside this file

    import keras_transfer as kt

    rng = np.random.default_rng(3)
    logits = {}
    for name, (kind, settings) in CASES.items():
        given = {ours: settings[theirs] for theirs, ours in OURS.items() if theirs in settings}
        if "where" in given:
            given["where"] = [TARGETS.get(target, target) for target in given["where"]]
        if "train" in given:
            given["train"] = [TARGETS.get(target, target) for target in given["train"]]
        if "length" in given:
            model = kt.peft.inject(build(kind), "prompt", **given, at="tokens", pool="prompt")
        else:
            model = kt.peft.inject(build(kind), "lora", **given)
        for variable in model.trainable_variables:
            variable.assign_add(rng.normal(0, 0.3, variable.shape).astype("float32"))
        kt.peft.save_adapters(model, folder / name)
        logits[name] = keras.ops.convert_to_numpy(model(inputs(kind)))
    np.savez(folder / "logits.npz", **logits)


def check(folder: Path) -> None:
    """Let PEFT read what `write` left in `folder`, and record the largest difference of the logits for each case."""
    import peft
    from safetensors.torch import load_file

    differences = {}
    with np.load(folder / "logits.npz") as ours:
        for name, (kind, _) in CASES.items():
            base = make_base(kind)
            base.load_state_dict(load_file(GOLDEN / f"{kind}.safetensors"))
            model = peft.PeftModel.from_pretrained(base, folder / name).eval()
            differences[name] = float(np.abs(logits_of(model, kind) - ours[name]).max())
            print(f"{name}: {differences[name]:.2e}")
    text = json.dumps({"peft": peft.__version__, "largest difference of the logits": differences}, indent=2)
    (GOLDEN / "peft_reads_ours.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        make()
    elif sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["check"]:
        check(Path(sys.argv[2]))
    else:
        print(__doc__)
