"""NF4 layers: numbers and gradients, whole models quantised, LoRA on top, files, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import peft
from keras_transfer.core.saving import load, save
from keras_transfer.core.selection import named_layers
from keras_transfer.peft.nf4 import bits_per_weight, pack, unpack
from keras_transfer.peft.quantized import NF4Dense, NF4EinsumDense, dequantise_layer, quantise_layer

RANDOM = np.random.default_rng(0)
# What keras-hub and MultiHeadAttention write: equation, shape of x, output shape, bias axes.
EQUATIONS = {
    "abc,cde->abde": ((2, 3, 16), (None, 4, 8), "de"),
    "abcd,cde->abe": ((2, 3, 4, 8), (None, 16), "e"),
    "bkm,mvh->bkvh": ((2, 3, 16), (None, 4, 8), None),
    "bquh,uhm->bqm": ((2, 3, 4, 8), (None, 16), None),
    "btd,ndh->btnh": ((2, 3, 16), (None, 4, 8), None),
    "btnh,nhd->btd": ((2, 3, 4, 8), (None, 16), None),
    "abc,cd->abd": ((2, 3, 16), (None, 24), "d"),
    "btf,fd->btd": ((2, 3, 16), (None, 24), None),
    "...x,xy->...y": ((2, 3, 16), (24,), "y"),
}


def layer_for(equation):
    shape, output, bias = EQUATIONS[equation]
    layer = keras.layers.EinsumDense(equation, output, bias_axes=bias, bias_initializer="normal")
    layer.build(shape)
    return layer, RANDOM.normal(size=shape).astype("float32")


def slope(function, x):
    """The gradient of the sum of squares of `function(x)`."""
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(function(x) ** 2)
    return tape.gradient(loss, x).numpy()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_a_product_is_that_of_the_rounded_kernel_forth_and_back(equation):
    layer, x = layer_for(equation)
    rounded = np.asarray(unpack(pack(layer.kernel), layer.kernel.shape))
    bias = 0 if layer.bias is None else np.asarray(layer.bias)
    quantise_layer(layer)
    assert type(layer) is NF4EinsumDense
    right = np.einsum(equation, x, rounded) + bias
    np.testing.assert_allclose(layer(x), right, atol=1e-5)
    expected = slope(lambda one: ops.einsum(equation, one, rounded) + bias, x)
    for training in (False, True):  # in training a kernel waits for what it is multiplied with
        gradient = slope(lambda one: layer(one, training=training), x)  # noqa: B023
        np.testing.assert_allclose(gradient, expected, atol=2e-4)


def test_a_dense_layer_with_its_activation():
    layer = keras.layers.Dense(24, activation="gelu", bias_initializer="normal")
    x = RANDOM.normal(size=(5, 16)).astype("float32")
    layer.build(x.shape)
    rounded, bias = np.asarray(unpack(pack(layer.kernel), (16, 24))), np.asarray(layer.bias)
    quantise_layer(layer)
    np.testing.assert_allclose(layer(x), keras.activations.gelu(x @ rounded + bias), atol=1e-5)
    right = slope(lambda one: keras.activations.gelu(ops.matmul(one, rounded) + bias), x)
    np.testing.assert_allclose(slope(layer, x), right, atol=1e-4)


def test_bytes_and_what_trains():
    layer = keras.layers.Dense(192, use_bias=False)
    layer.build((None, 128))
    quantise_layer(layer)
    held = sum(np.asarray(one).nbytes for one in layer.weights)
    assert 8 * held / (128 * 192) == bits_per_weight((128, 192)) < 4.14
    assert not layer.trainable_weights
    assert [one.path.split("/")[-1] for one in layer.weights] == ["codes", "scales", "spans", "offset"]


def test_under_mixed_precision_only_the_product_is_half():
    layer = keras.layers.Dense(24, dtype="mixed_bfloat16")
    layer.build((None, 16))
    quantise_layer(layer)
    assert layer.kernel.dtype == layer(np.ones((2, 16))).dtype == "bfloat16"
    assert {one.name: one.dtype for one in layer.weights if one.name in ("spans", "offset")} == {
        "spans": "float32",
        "offset": "float32",
    }


def test_there_and_back_is_the_layer_as_it_was_made():
    layer, x = layer_for("abc,cde->abde")
    names = [one.path for one in layer.weights]
    quantise_layer(layer)
    y = np.asarray(layer(x))
    dequantise_layer(layer)
    assert type(layer) is keras.layers.EinsumDense
    assert [one.path for one in layer.weights] == names
    assert layer.kernel.trainable
    np.testing.assert_allclose(layer(x), y, atol=1e-5)


def test_a_layer_of_its_own_comes_back_from_plain_keras(tmp_path):
    x = keras.Input((16,))
    model = keras.Model(x, NF4Dense(3)(NF4Dense(24, activation="relu", name="inner")(x)))
    given = RANDOM.normal(size=(4, 16)).astype("float32")
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))
    assert again.get_layer("inner").codes.dtype == "uint8"


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """QLoRA on a classifier: what it said before, after three steps, and from a file."""
    keras.utils.set_random_seed(0)
    base, x = tiny.bert_classifier(), tiny.BERT_INPUT
    float_answer = tiny.answer(base, x)
    quantised = peft.quantize(base, "nf4")
    rounded = tiny.answer(quantised, x)
    model = peft.inject(quantised, "lora", "all-linear", rank=2)
    start = tiny.answer(model, x)
    trains = {id(one) for one in model.trainable_weights}
    kept = [(one, np.asarray(one)) for one in model.weights if id(one) not in trains]
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(x, np.array([0, 1, 2, 0]), epochs=8, verbose=0).history["loss"]
    path = save(model, tmp_path_factory.mktemp("q") / "m.keras")
    return {"float": float_answer, "rounded": rounded, "start": start, "kept": kept, "losses": losses,
            "model": model, "path": path, "x": x}  # fmt: skip


def test_lora_on_codes_starts_as_the_quantised_base_and_learns(trained):
    np.testing.assert_array_equal(trained["start"], trained["rounded"])
    assert 0 < np.abs(trained["rounded"] - trained["float"]).max() < 0.1 * np.abs(trained["float"]).max() + 1e-3
    assert trained["losses"][-1] < trained["losses"][0]
    for variable, before in trained["kept"]:
        np.testing.assert_array_equal(np.asarray(variable), before, err_msg=variable.path)


def test_every_linear_layer_but_the_head_is_codes(trained):
    model = trained["model"]
    kinds = [type(one.base).__name__ for one in model.injections]
    assert kinds.count("NF4EinsumDense") == 2 * 4
    assert kinds.count("NF4Dense") == 2 * 2 + 1  # and the pooler
    assert len(model.get_config()["replaced"]) == 13
    assert type(model.get_layer("logits")) is keras.layers.Dense


@pytest.mark.slow
def test_a_file_answers_alike_and_learns_on_alike(trained, tiny):
    model, again = trained["model"], load(trained["path"])
    np.testing.assert_array_equal(tiny.answer(again, trained["x"]), tiny.answer(model, trained["x"]))
    y = np.array([0, 1, 2, 0])
    one, other = (
        each.fit(trained["x"], y, epochs=2, shuffle=False, verbose=0).history["loss"] for each in (model, again)
    )
    assert one == other


def test_merging_needs_float_kernels_and_gives_the_same_answers(tiny):
    keras.utils.set_random_seed(0)
    base, x = tiny.bert_classifier(), tiny.BERT_INPUT
    kind = type(base)
    model = tiny.learn(peft.inject(peft.quantize(base), "lora", rank=2))
    right = tiny.answer(model, x)
    with pytest.raises(ValueError, match=r"kt\.peft\.dequantize"):
        peft.merge(model)
    np.testing.assert_array_equal(tiny.answer(model, x), right)
    merged = peft.merge(peft.dequantize(model))
    assert type(merged) is kind
    np.testing.assert_allclose(tiny.answer(merged, x), right, atol=1e-5)


def test_ejecting_leaves_the_rounded_base_and_dequantizing_a_plain_one(tiny, tmp_path):
    base, x = tiny.bert_classifier(), tiny.BERT_INPUT
    kind, count = type(base), len(base.weights)
    quantised = peft.quantize(base, remat=True)
    rounded = tiny.answer(quantised, x)
    ejected = peft.eject(tiny.learn(peft.inject(quantised, "lora", rank=2)))
    assert isinstance(ejected, peft.Injected)
    np.testing.assert_array_equal(tiny.answer(ejected, x), rounded)
    plain = peft.dequantize(ejected)
    assert type(plain) is kind
    assert len(plain.weights) == count
    plain.save(tmp_path / "m.keras")
    np.testing.assert_allclose(tiny.answer(keras.models.load_model(tmp_path / "m.keras"), x), rounded, atol=1e-5)


def test_quantised_while_it_is_read(tiny, tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    whole = tiny.bert()
    whole.save_weights(tmp_path / "m.weights.h5")
    float_kernels = []
    monkeypatch.setattr(
        keras.layers.Dense, "load_own_variables", lambda self, store: float_kernels.append(self.name)
    )  # reached through a float layer only
    model = peft.load_quantized(tiny.bert, tmp_path / "m.weights.h5", where="re:transformer.*")
    assert float_kernels == ["pooled_dense"]
    monkeypatch.undo()
    model.get_layer("pooled_dense").set_weights(whole.get_layer("pooled_dense").get_weights())
    right = tiny.answer(peft.quantize(whole, where="re:transformer.*"), tiny.BERT_INPUT)
    np.testing.assert_array_equal(tiny.answer(model, tiny.BERT_INPUT), right)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_keras_own_modes_under_lora(tiny, mode, tmp_path):
    base, x = tiny.bert_classifier(), tiny.BERT_INPUT
    quantised = peft.quantize(base, mode)
    start = tiny.answer(quantised, x)
    model = peft.inject(quantised, "lora", rank=2)
    np.testing.assert_array_equal(tiny.answer(model, x), start)
    again = load(save(tiny.learn(model), tmp_path / "m.keras"))
    np.testing.assert_array_equal(tiny.answer(again, x), tiny.answer(model, x))


MEMORY = r"""
import re
import keras
import numpy as np
from keras_transfer.peft.quantized import NF4Dense

x = keras.Input((16,))
y = keras.layers.Dense(2048)(x)
for _ in range(24):
    y = keras.layers.Add()([y, NF4Dense(2048, use_bias=False, kernel_initializer="zeros")(y)])
model = keras.Model(x, keras.layers.Dense(1)(y))
model.compile("sgd", "mse")
status = lambda word: int(re.search(word + r":\s+(\d+)", open("/proc/self/status").read()).group(1)) / 1024
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the highest from here on
model.fit(np.ones((8, 16)), np.ones((8, 1)), epochs=2, verbose=0)
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the highest memory")
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_step_never_holds_all_float_kernels(backend):
    """24 kernels of 2,048 x 2,048 are 384 MB in float32: kept for the backward pass, a step took 447 MB (JAX 416)."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout.strip().splitlines()[-1]) < 200  # 114, and 71 on JAX


@pytest.mark.slow
def test_minilm_in_four_bits_says_nearly_the_same(data_root):
    """Sentence embeddings of 64 reviews, by their cosine to those of the float weights: nearer than 16 even levels."""
    import gzip

    import keras_hub

    folder = data_root / "text_minilm"
    tokenizer = keras_hub.models.BertTokenizer(str(folder / "vocab.txt"), lowercase=True)
    with gzip.open(data_root / "text" / "sst2_dev.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").partition("\t")[2] for _, line in zip(range(64), file, strict=False)]
    x = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=48)(lines)
    sizes = {"num_layers": 6, "num_heads": 12, "hidden_dim": 384, "intermediate_dim": 1536, "max_sequence_length": 512}
    build = lambda: keras_hub.models.BertBackbone(vocabulary_size=30522, **sizes)  # noqa: E731
    weights = folder / "all_minilm_l6_v2.bert_backbone.weights.h5"
    whole = build()
    whole.load_weights(weights)
    mask = np.asarray(x["padding_mask"])[..., None]

    def embeddings(model):
        vectors = (model.predict(x, verbose=0)["sequence_output"] * mask).sum(1)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    right, model = embeddings(whole), peft.load_quantized(build, weights)
    for path, layer in named_layers(whole):
        if path in {one[0] for one in model.get_config()["replaced"]}:
            blocks = np.asarray(layer.kernel).reshape(-1, 64)
            largest = np.abs(blocks).max(1, keepdims=True)
            rounded = (np.round((blocks / largest + 1) * 7.5) / 7.5 - 1) * largest
            layer.kernel.assign(rounded.reshape(layer.kernel.shape))
    nf4, even = ((right * embeddings(one)).sum(-1).mean() for one in (model, whole))
    assert nf4 > even
    assert nf4 > 0.96  # 0.973


@pytest.mark.slow
def test_a_quantised_model_is_exported_with_float_kernels(tiny, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    model = tiny.learn(peft.inject(peft.quantize(tiny.bert_classifier()), "lora", rank=2))
    model.export(str(tmp_path / "m.tflite"), format="litert", verbose=False)
    kernels = sum(4 * int(np.prod(one.kernel.shape)) for one in model.injections)
    assert (tmp_path / "m.tflite").stat().st_size > kernels  # the file is as large as a float one
    interpreter = Interpreter(str(tmp_path / "m.tflite"))
    runner = interpreter.get_signature_runner()
    given = {name: one.astype("int32") for name, one in tiny.BERT_INPUT.items()}
    says = next(iter(runner(**{name: given[name] for name in runner.get_input_details()}).values()))
    np.testing.assert_allclose(says, tiny.answer(model, tiny.BERT_INPUT), atol=1e-5)


def test_what_is_refused(tiny, tmp_path):
    base = tiny.bert_classifier()
    with pytest.raises(ValueError, match=r"Did you mean 'nf4'\? Received: mode='nf5'"):
        peft.quantize(base, "nf5")
    with pytest.raises(ValueError, match="names no Dense or EinsumDense whose kernel is float"):
        peft.quantize(base, where=keras.layers.LayerNormalization)
    quantised = peft.quantize(base)
    with pytest.raises(ValueError, match="each can be quantised once"):
        peft.quantize(quantised)
    with pytest.raises(ValueError, match="first, and inject then"):
        peft.quantize(quantised, "int8", where="logits")
    with pytest.raises(ValueError, match=r"There must be a '\.weights\.h5' file"):
        peft.load_quantized(tiny.bert, tmp_path / "none.weights.h5")
    layer = keras.layers.Dense(3)
    with pytest.raises(ValueError, match="must be built"):
        quantise_layer(layer)
    layer.build((None, 2))
    layer.kernel.assign(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="6 weights of 6 that are NaN"):
        quantise_layer(layer)
    assert type(layer) is keras.layers.Dense
    assert len(layer.weights) == 2
    layer.kernel.assign(np.ones((2, 3)))
    quantise_layer(layer)
    with pytest.raises(ValueError, match=r"must have the shape \(2, 3\). Received: \(4, 3\)"):
        layer.load_own_variables({"0": np.ones((4, 3)), "1": np.ones(3)})
    with pytest.raises(ValueError, match="needs the weights"):
        layer.load_own_variables({"codes": np.ones(3)})


@pytest.mark.distributed
def test_two_replicas_learn_what_one_does(two_devices):
    script = """
import keras_hub
from keras_transfer import peft
sizes = {"vocabulary_size": 60, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
x = {"token_ids": np.arange(64).reshape(8, 8) % 55 + 5, "padding_mask": np.ones((8, 8), "int32"),
     "segment_ids": np.zeros((8, 8), "int32")}
def fitted(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        backbone = keras_hub.models.BertBackbone(**sizes, max_sequence_length=8, dropout=0.0)
        model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=None, dropout=0.0)
        model = peft.inject(peft.quantize(model, remat=True), "lora", rank=2)
        for method in ("houlsby", "prefix", "prompt", "ia3"):
            model = peft.inject(model, method, name=method, **({} if method == "ia3" else {"bottleneck": 3}
                                                              if method == "houlsby" else {"length": 2}))
        peft.activate(model, ["default", "houlsby", "prefix", "prompt", "ia3"], head="default")
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((x, np.arange(8) % 2)).batch(8)
    losses = model.fit(data, epochs=3, verbose=0).history["loss"]
    return losses, [one.numpy() for one in model.trainable_variables]
one, two = fitted(tf.distribute.get_strategy()), fitted(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
off = max(np.abs(a - b).max() for a, b in zip(one[1], two[1]))
print("equal" if off < 1e-5 and np.allclose(one[0], two[0], atol=1e-5) else (off, one[0], two[0]))
"""
    assert two_devices(script) == "equal"


@pytest.mark.slow
def test_on_jax(on_jax):
    script = """
import tempfile
import keras, numpy as np
from keras_transfer import peft
x = keras.Input((6, 16))
y = keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x)
y = keras.layers.EinsumDense("abc,cd->abd", (None, 16), name="inner")(y)
model = keras.Model(x, keras.layers.Dense(3, name="head")(keras.layers.GlobalAveragePooling1D()(y)))
given = np.random.default_rng(0).normal(size=(8, 6, 16)).astype("float32")
model = peft.inject(peft.quantize(model), "lora", "all-linear", rank=2)
codes = np.asarray(model.get_layer("inner").base.codes)
start = np.asarray(model(given))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
losses = model.fit(given, np.arange(8) % 3, epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0]
np.testing.assert_array_equal(np.asarray(model.get_layer("inner").base.codes), codes)
path = tempfile.mkdtemp() + "/m.keras"
model.save(path)
np.testing.assert_array_equal(np.asarray(keras.models.load_model(path)(given)), np.asarray(model(given)))
model = peft.inject(model, "prefix", length=3, name="front")
model.fit(given, np.arange(8) % 3, epochs=1, verbose=0)
with peft.disabled(model):
    np.testing.assert_array_equal(np.asarray(model(given)), start)
"""
    assert on_jax(script) == "done on JAX"
