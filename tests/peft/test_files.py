"""Adapter files: HF PEFT's golden files give PEFT's logits, ours are its, and a file that does not fit changes nothing."""

import importlib.util
import json
import shutil
import struct
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_transfer.backbones import build_text_classifier
from keras_transfer.core.selection import named_layers
from keras_transfer.peft import activate, eject, inject, load_adapters, merge, save_adapters
from keras_transfer.peft.names import module_names, shortest_targets
from keras_transfer.peft.quantising import quantize

spec = importlib.util.spec_from_file_location("hf_bases", Path(__file__).parents[1] / "references" / "hf_bases.py")
bases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bases)
GOLDEN = bases.GOLDEN
CASES = ("bert_lora", "bert_rslora", "bert_bias", "bert_prompt", "distilbert_lora", "roberta_lora", "llama_lora")


def answer(model, kind="bert"):
    return keras.ops.convert_to_numpy(model(bases.inputs(kind)))


def logits(name):
    with np.load(GOLDEN / "logits.npz") as found:
        return found[name]


def stir(model, seed=0):
    """Move all that trains."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "llama"])
def test_the_bases_are_those_of_transformers(kind):
    np.testing.assert_allclose(answer(bases.build(kind), kind), logits(kind), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_peft_gives_the_logits_of_peft_and_ours_is_the_same_file(case, tmp_path):
    kind = case.partition("_")[0]
    model = load_adapters(bases.build(kind), GOLDEN / case)
    np.testing.assert_allclose(answer(model, kind), logits(case), atol=1e-5)
    assert np.abs(logits(case) - logits(kind)).max() > 0.1  # the adapter does something
    save_adapters(model, tmp_path / "ours")
    ours, theirs = (load_file(one / "adapter_model.safetensors") for one in (tmp_path / "ours", GOLDEN / case))
    theirs = {name: one for name, one in theirs.items() if "original_module" not in name and "to_save" not in name}
    assert {name: one.shape for name, one in ours.items()} == {name: one.shape for name, one in theirs.items()}
    for name, one in ours.items():
        np.testing.assert_allclose(one, theirs[name], atol=1e-6)
    mine, told = (json.loads((one / "adapter_config.json").read_text()) for one in (tmp_path / "ours", GOLDEN / case))
    same = {"peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias"}
    same = (same | {"num_virtual_tokens", "token_dim", "num_transformer_submodules"}) & set(told)
    assert {key: mine[key] for key in same} == {key: told[key] for key in same}
    modules = module_names(bases.build(kind)).of_module
    assert taken(mine.get("target_modules", ()), modules) == taken(told.get("target_modules", ()), modules)


def taken(targets, modules):
    """What PEFT adapts: the modules whose name ends in a target."""
    return {name for name in modules if any(name == one or name.endswith(f".{one}") for one in targets)}


def test_peft_reads_what_we_write():
    """Recorded by `hf_peft.py write` and `check`, with torch."""
    found = json.loads((GOLDEN / "peft_reads_ours.json").read_text())["largest difference of the logits"]
    assert set(CASES) == set(found)
    assert max(found.values()) <= 1e-4


def plain():
    """Dense, an embedding and convolutions, from token ids to three logits, always of the same weights."""
    keras.utils.set_random_seed(4)
    tokens = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(12, 8, name="words")(tokens)
    x = keras.layers.Conv1D(5, 3, name="window")(x)
    x = keras.layers.Reshape((2, 2, 5))(x)
    x = keras.layers.Conv2D(4, 2, padding="same", name="square")(x)
    x = keras.layers.Dense(7, "relu", name="inner")(keras.layers.Flatten()(x))
    return keras.Model(tokens, keras.layers.Dense(3, name="head")(x))


TOKENS = np.random.default_rng(0).integers(0, 12, (5, 6))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of an adapter on `plain()`, and what the model with it answers."""
    model = stir(inject(plain(), where=["words", "window", "square", "inner"], rank=2, alpha=3, rslora=True))
    folder = tmp_path_factory.mktemp("adapter")
    save_adapters(model, folder)
    return folder, keras.ops.convert_to_numpy(model(TOKENS))


def test_any_model_comes_back(saved):
    folder, expected = saved
    model = load_adapters(plain(), folder, "again")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(TOKENS)), expected, atol=1e-5)
    assert {one.path for one in model.trainable_variables if "lora_" not in one.path} == {"head/kernel", "head/bias"}
    arrays = load_file(folder / "adapter_model.safetensors")
    shapes = {name.removeprefix("base_model.model."): one.shape for name, one in arrays.items()}
    assert shapes["square.lora_A.weight"] == (2, 5, 2, 2)  # as torch has it: rank, inputs, window
    assert shapes["square.lora_B.weight"] == (4, 2, 1, 1)
    assert shapes["words.lora_embedding_A"] == (2, 12)
    assert shapes["head.weight"] == (3, 7)


def test_without_the_head(saved):
    base = plain()
    before = [one.copy() for one in base.get_layer("head").get_weights()]
    model = load_adapters(base, saved[0], head=False)
    for one, old in zip(model.get_layer("head").get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, old)
    assert all("lora_" in one.path for one in model.trainable_variables)


def test_two_adapters_on_one_base(saved, tmp_path):
    folder, expected = saved
    model = load_adapters(plain(), folder, "one")
    model = stir(inject(model, where="inner", rank=3, name="two"), seed=1)
    second = keras.ops.convert_to_numpy(model(TOKENS))
    with pytest.raises(
        ValueError, match=r"several adapters; say which one\. Received: name=None, one of \['one', 'two'\]"
    ):
        save_adapters(model, tmp_path / "x")
    for name, wanted in (("one", expected), ("two", second)):
        save_adapters(model, tmp_path / name, name)
        again = load_adapters(plain(), tmp_path / name)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(again(TOKENS)), wanted, atol=1e-5)
    activate(model, "one")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(TOKENS)), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"Each adapter has its own name; .* Received: 'one'"):
        load_adapters(model, folder, "one")


def test_another_base_is_refused_and_half_precision_read(saved, tmp_path):
    other = plain()
    other.get_layer("inner").kernel.assign_add(np.full((16, 7), 1e-6, "float32"))
    with pytest.raises(
        ValueError, match=r"trained on other weights: .* Received: a base with [0-9a-f]{12}\.\.\. for '"
    ):
        load_adapters(other, saved[0])
    assert type(other.get_layer("inner")) is keras.layers.Dense
    for dtype in ("float16", ml_dtypes.bfloat16, "float64"):
        folder = tmp_path / np.dtype(dtype).name
        folder.mkdir()
        copy = changed(saved[0], folder, lambda arrays: {name: one.astype(dtype) for name, one in arrays.items()})  # noqa: B023
        model = load_adapters(other, copy)  # PEFT's own files have no hash
        assert np.abs(keras.ops.convert_to_numpy(model(TOKENS)) - saved[1]).max() < 0.02 * np.abs(saved[1]).max()
        other = eject(model)
        assert type(other.get_layer("inner")) is keras.layers.Dense


def changed(folder, target, arrays=None, config=None, metadata=None):
    """A copy of an adapter with other arrays, and without the hash."""
    target = target / "changed"
    shutil.copytree(folder, target)
    file = target / "adapter_model.safetensors"
    if arrays is not None:
        save_file(arrays(load_file(file)), file, metadata=metadata)
    if config is not None:
        told = json.loads((target / "adapter_config.json").read_text())
        (target / "adapter_config.json").write_text(json.dumps(told | config))
    return target


def one_of(arrays, ending):
    return next(name for name in arrays if name.endswith(ending))


def without(ending):
    return lambda arrays: {name: one for name, one in arrays.items() if not name.endswith(ending)}


def with_one(ending, change):
    return lambda arrays: arrays | {one_of(arrays, ending): change(arrays[one_of(arrays, ending)])}


A = "inner.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"arrays": with_one(A, lambda a: np.full_like(a, np.nan))}, r"must be finite\. Received: 'base_model.model.inner"),
        ({"arrays": with_one(A, lambda a: a.astype("int32"))}, r"arrays are floats\. Received: '.*inner.* of type I32"),
        ({"arrays": with_one(A, lambda a: a[:, :-1].copy())}, r"this one needs \(16, 2\)\. Received: 'inner/a' of shape \(15, 2\)"),
        ({"arrays": with_one(A, lambda a: a[:1].copy())}, r"says rank 2: the layer 'inner' must have A .* \(16, 1\) and \(2, 7\)"),
        ({"arrays": without("inner.lora_B.weight")}, r"the layer 'inner' must have A .* Received: \(16, 2\) and None"),
        ({"arrays": without("head.bias")}, r"this one needs 'head/bias' too\. Received: 9 arrays"),
        ({"arrays": lambda a: a | {"base_model.model.iner.lora_A.weight": a[one_of(a, A)]}}, r"no such layer\. Did you mean 'inner'"),
        ({"arrays": lambda a: a | {"base_model.model.inner.lora_C": a[one_of(a, A)]}}, r"An array of LoRA ends in '\.lora_A"),
        ({"arrays": lambda a: {"base_model.model.head.bias": a[one_of(a, "head.bias")]}}, r"must hold a LoRA\. Received: no array"),
        ({"config": {"r": 3}}, r"says rank 3: the layer"),
        ({"config": {"r": 2**31}}, r"says rank 2147483648: the layer"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_changes_nothing(saved, tmp_path, change, match):
    model = plain()
    layers = [layer for _, layer in named_layers(model)]
    with pytest.raises(ValueError, match=match):
        load_adapters(model, changed(saved[0], tmp_path, **change))
    assert [id(layer) for _, layer in named_layers(model)] == [id(layer) for layer in layers]
    assert model.get_layer("head").trainable


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: struct.pack("<Q", 2**60) + data[8:],
        lambda data: b"\x80\x04\x95" + data,  # a pickle begins like this
        lambda data: data.replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1),
    ],
    ids=["empty", "five bytes", "one byte short", "half", "a header of an exabyte", "pickle", "shifted"],
)
def test_truncated_and_hostile_safetensors(saved, tmp_path, damage):
    folder = changed(saved[0], tmp_path)
    file = folder / "adapter_model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"must be a whole \.safetensors \(.*\)\. Received: '"):
        load_adapters(plain(), folder)


def test_what_is_no_adapter(saved, tmp_path):
    folder = changed(saved[0], tmp_path)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"runs what it says when it is opened: save it again with safe_serialization"):
        load_adapters(plain(), folder)
    with pytest.raises(TypeError, match=r"`model` must be what `kt.peft.inject` returns\. Received: Functional"):
        save_adapters(plain(), tmp_path)
    with pytest.raises(ValueError, match=r"written into a folder\. Received: the file '"):
        save_adapters(load_adapters(plain(), saved[0]), saved[0] / "adapter_config.json")


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    model = inject(plain(), where="inner")
    model.trainable_variables[0].assign(np.full(model.trainable_variables[0].shape, np.inf))
    with pytest.raises(ValueError, match=r"not finite is not written\. Received: 'inner/a'"):
        save_adapters(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_another_method_is_not_pefts(tmp_path):
    with pytest.raises(
        ValueError, match=r"hold LoRA or prompt tuning; .* kt\.save\. .* 'default' of the method 'bitfit'"
    ):
        save_adapters(inject(plain(), "bitfit"), tmp_path / "x")
    with pytest.raises(ValueError, match=r"puts a prompt among the tokens .* with at='embeddings', pool='text'"):
        save_adapters(inject(bases.build("bert"), "prompt", length=2), tmp_path / "x")


def test_what_was_trained_on_a_quantised_base_goes_onto_the_float_one(tmp_path):
    """The hash is of float kernels: a quantised base has none, and none is asked of it."""
    small = stir(inject(quantize(plain(), "nf4"), where="inner", rank=2))
    save_adapters(small, tmp_path / "small")
    model = load_adapters(plain(), tmp_path / "small")
    assert np.abs(keras.ops.convert_to_numpy(model(TOKENS)) - keras.ops.convert_to_numpy(small(TOKENS))).max() < 0.5
    save_adapters(model, tmp_path / "float")
    load_adapters(quantize(plain(), "nf4"), tmp_path / "float")
    with pytest.raises(ValueError, match=r"trained on other weights"):
        load_adapters(stir(plain()), tmp_path / "float")


def test_the_names_of_our_own_classifier():
    """With BERT's own pooling it is the classifier of `transformers`; with another it is a head of its own."""
    for pooling, name in (("pooled", "classifier"), ("mean", "head.logits")):
        model = build_text_classifier(bases.build("bert").backbone, 3, pooling=pooling)
        names = module_names(model).of_path
        assert names["head/logits"] == name
        query = "transformer_layer_1/self_attention_layer/query"
        assert names[f"backbone/{query}"] == "bert.encoder.layer.1.attention.self.query"
    assert module_names(model.get_layer("backbone")).of_path[query] == "encoder.layer.1.attention.self.query"


def test_our_own_classifier_takes_the_file_of_peft():
    """Its mask follows from the token ids, and BERT's own pooling makes it the model that the file is for."""
    hub = bases.build("bert")
    model = build_text_classifier(hub.backbone, 3, pooling="pooled")
    model = load_adapters(model, GOLDEN / "bert_lora")
    found = keras.ops.convert_to_numpy(model(bases.inputs("bert")["token_ids"]))
    np.testing.assert_allclose(found, logits("bert_lora"), atol=1e-5)
    other = build_text_classifier(bases.build("bert").backbone, 3, pooling="mean")
    with pytest.raises(ValueError, match=r"has no such layer\. .* Received: 'base_model.model.classifier\."):
        load_adapters(other, GOLDEN / "bert_lora")


@pytest.mark.slow
def test_on_jax(on_jax):
    """Read PEFT's file and write it again, without TensorFlow or torch."""
    script = """
import importlib.util, pathlib, tempfile
import numpy as np, keras
from safetensors.numpy import load_file
spec = importlib.util.spec_from_file_location("hf_bases", sys.argv[1])
bases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bases)
import keras_transfer as kt
model = kt.peft.load_adapters(bases.build("bert"), bases.GOLDEN / "bert_rslora")
found = keras.ops.convert_to_numpy(model(bases.inputs("bert")))
np.testing.assert_allclose(found, np.load(bases.GOLDEN / "logits.npz")["bert_rslora"], atol=1e-5)
folder = pathlib.Path(tempfile.mkdtemp())
kt.peft.save_adapters(model, folder)
ours, theirs = (load_file(one / "adapter_model.safetensors") for one in (folder, bases.GOLDEN / "bert_rslora"))
assert all(np.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
"""
    assert on_jax(script, str(Path(bases.__file__))) == "done on JAX"


def test_targets_are_as_short_as_they_can_be():
    modules = ["a.0.query", "a.0.output.dense", "a.1.query", "a.1.output.dense", "pooler.dense"]
    assert shortest_targets(["a.0.query", "a.1.query"], modules) == ["query"]
    assert shortest_targets(["a.0.output.dense", "a.1.output.dense"], modules) == ["output.dense"]
    assert shortest_targets(["a.1.query"], modules) == ["1.query"]
    assert shortest_targets(["a.0.query", "pooler.dense"], modules) == ["0.query", "pooler.dense"]


def test_after_a_merge_there_is_nothing_to_save(tmp_path):
    model = stir(inject(plain(), where="inner"))
    merge(model)
    with pytest.raises(ValueError, match=r"no adapter any more: `merge` and `eject` take them out.*Received: Injected"):
        save_adapters(model, tmp_path / "x")
