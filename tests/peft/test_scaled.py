"""IA3 and DoRA: the papers' formulas by NumPy, their counts, and what they become when merged."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")


def product(activation="gelu", dtype=None):
    x = keras.Input((5, 6))
    layer = keras.layers.EinsumDense(
        "abc,cde->abde",
        (None, 2, 4),
        activation=activation,
        bias_axes="de",
        bias_initializer="normal",
        name="query",
        dtype=dtype,
    )
    return keras.Model(x, layer(x))


def gelu(x):
    return np.asarray(keras.activations.gelu(x))


def test_ia3_multiplies_what_comes_out(tiny):
    """Liu et al. 2022, section 3.3: l * (W x)."""
    model = product()
    w, b = model.get_layer("query").get_weights()
    model = tiny.learn(peft.inject(model, "ia3", "query", train=None), scale=1.0)
    factor = np.asarray(model.injections[0].adapters["default"].scale)
    right = gelu(factor * (np.einsum("abc,cde->abde", X, w) + b))
    np.testing.assert_allclose(tiny.answer(model, X), right, atol=1e-5)
    np.testing.assert_allclose(tiny.answer(peft.merge(model), X), right, atol=1e-5)


def test_ia3_stands_on_keys_values_and_the_inside_of_the_feed_forward_network(tiny):
    base, x = tiny.bert_classifier(), tiny.BERT_INPUT
    before = tiny.answer(base, x)
    model = peft.inject(base, "ia3", train=None)
    np.testing.assert_array_equal(tiny.answer(model, x), before)
    assert [one.name for one in model.injections] == ["key", "value", "feedforward_output_dense"] * 2
    assert trainable_report(model).trainable == 2 * (16 + 16 + 32)  # d_k + d_v + d_ff
    last = tiny.learn(model, scale=1.0).injections[-1]
    factor = np.asarray(last.adapters["default"].scale)
    inner = np.random.default_rng(1).normal(size=(3, 32)).astype("float32")
    w, b = np.asarray(last.base.kernel), np.asarray(last.base.bias)
    np.testing.assert_allclose(last(inner), (factor * inner) @ w + b, atol=1e-5)
    learned = tiny.answer(model, x)
    np.testing.assert_allclose(tiny.answer(peft.merge(model), x), learned, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_dora_turns_and_stretches_each_column(tiny, dtype):
    """Liu et al. 2024, equation 5: m (W + s A B) / ||W + s A B||, the norm over the inputs."""
    model = product(dtype=dtype)
    w, b = (one.astype("float64") for one in model.get_layer("query").get_weights())
    before = tiny.answer(model, X)
    model = peft.inject(model, "dora", "query", rank=3, alpha=6, train=None)
    one = model.injections[0].adapters["default"]
    np.testing.assert_array_equal(tiny.answer(model, X), before)
    np.testing.assert_allclose(one.magnitude, np.sqrt((w**2).sum(0)), rtol=1e-6)
    assert trainable_report(model).trainable == 3 * (6 + 8) + 8
    tiny.learn(model, scale=0.7)
    m, a, low = (np.asarray(part, "float64") for part in (one.magnitude, one.lora_a, one.lora_b))
    whole = w + 2 * np.einsum("cr,rde->cde", a, low)
    right = gelu((np.einsum("abc,cde->abde", X, m * whole / np.sqrt((whole**2).sum(0))) + b).astype("float32"))
    off = 1e-5 if dtype == "float32" else 0.1
    np.testing.assert_allclose(np.asarray(tiny.answer(model, X), "float32"), right, atol=off)
    if dtype == "float32":
        np.testing.assert_allclose(tiny.answer(peft.merge(model), X), right, atol=off)


def test_no_gradient_goes_through_the_norm(tiny):
    """Section 4.3: the norm is a constant; so d loss / d m is what it is for c = m / ||W + s A B|| with a fixed norm."""
    import tensorflow as tf

    model = tiny.learn(peft.inject(product("linear"), "dora", "query", rank=2, train=None))
    injection = model.injections[0]
    one = injection.adapters["default"]
    norm = tf.constant(np.asarray(injection.norm(one)))
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(model(X) ** 2)
        a, b = one.lora_a.value, one.lora_b.value
        kernel = tf.constant(injection.base.kernel) + one.scale * tf.einsum("cr,rde->cde", a, b)
        right = tf.reduce_sum(
            (tf.einsum("abc,cde->abde", X, one.magnitude.value / norm * kernel) + injection.base.bias) ** 2
        )
    for variable in (one.magnitude, one.lora_a, one.lora_b):
        np.testing.assert_allclose(
            tape.gradient(loss, variable.value), tape.gradient(right, variable.value), rtol=2e-4, atol=1e-5
        )


def test_dora_on_codes(tiny):
    model = product()
    given = tiny.answer(peft.quantize(model, where="query"), X)
    model = peft.inject(peft.quantize(product(), where="query"), "dora", "query", rank=2, train=None)
    assert tiny.answer(model, X).shape == given.shape
    tiny.learn(model)
    right = tiny.answer(model, X)
    np.testing.assert_allclose(tiny.answer(peft.merge(peft.dequantize(model)), X), right, atol=1e-5)


def test_what_is_refused(tiny):
    model = peft.inject(product(), "dora", "query", rank=2, name="a", train=None)
    peft.inject(model, "dora", "query", rank=2, name="b", train=None)
    peft.activate(model, ["a", "b"])
    with pytest.raises(
        ValueError, match=r"Only one 'dora' adapter can be merged; `activate` one. Received: \['a', 'b'\]"
    ):
        peft.merge(model)
    with pytest.raises(ValueError, match="no such setting"):
        peft.inject(product(), "ia3", "query", rank=2, train=None)
    with pytest.raises(ValueError, match="`side` must be"):
        peft.inject(product(), "ia3", "query", train=None).injections[0].add_adapter("other", {"side": "both"})


def test_dora_in_half_precision(tiny):
    model = product(dtype="bfloat16")
    before = tiny.answer(model, X)
    model = peft.inject(model, "dora", "query", rank=3, train=None)
    np.testing.assert_array_equal(tiny.answer(model, X), before)
    learned = np.asarray(tiny.answer(tiny.learn(model, scale=0.1), X), "float32")
    merged = np.asarray(tiny.answer(peft.merge(model), X), "float32")
    np.testing.assert_allclose(merged, learned, atol=0.1)


@pytest.mark.parametrize(("equation", "shape"), [("abc,cde->abed", (None, 3, 3)), ("abc,cd->adb", (5, 5))])
def test_dora_is_refused_where_what_comes_out_does_not_end_in_the_outputs(equation, shape):
    x = keras.Input((5, 4))
    model = keras.Model(x, keras.layers.EinsumDense(equation, shape, name="d")(x))
    with pytest.raises(ValueError, match="Received: "):
        peft.inject(model, "dora", "d", train=None, rank=2)


@pytest.mark.parametrize("kind", [keras.layers.BatchNormalization, keras.layers.LayerNormalization])
@pytest.mark.parametrize(("axis", "shape"), [(1, (4, 4)), (1, (3, 5)), (2, (3, 5, 4)), (-1, (4, 4))])
def test_bitfit_adds_along_the_axis_of_a_normalisation(kind, axis, shape, tiny):
    x = keras.Input(shape)
    model = keras.Model(x, kind(axis=axis, name="d")(x))
    model = tiny.learn(peft.inject(model, "bitfit", "d", train=None), scale=1.0)
    batch = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    before = tiny.answer(model, batch)
    np.testing.assert_allclose(tiny.answer(peft.merge(model), batch), before, atol=1e-5)
