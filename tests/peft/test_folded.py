"""A training step with the kernel folded is the product form: same output, same gradients, nothing of the kernel's size."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import peft
from keras_transfer.peft.folded import folds
from keras_transfer.peft.lora_shapes import split_equation

RANDOM = np.random.default_rng(0)


def injected(layer, shape, **settings):
    """A model of that layer with two adapters that have learned, one of them at half its gate."""
    x = keras.Input(shape)
    model = peft.inject(keras.Model(x, layer(x)), "lora", layer.name, train=None, rank=3, **settings)
    peft.add_adapter(model, "second", rank=2, alpha=1, train=None)
    peft.activate(model, ["default", "second"])
    (injection,) = model.injections
    injection.adapters["second"].gate.assign(0.5)
    for one in model.trainable_variables:
        one.assign(RANDOM.normal(size=one.shape))
    return model, injection


def learned(model, x, training):
    """The output, and the gradients of x and of everything that trains for a fixed random direction."""
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=training)
        loss = ops.sum(ops.multiply(y, np.random.default_rng(1).normal(size=y.shape)))
    return [y, *tape.gradient(loss, [x, *(one.value for one in model.trainable_variables)])]


LAYERS = [
    (keras.layers.Dense(5, activation="tanh", name="d"), (4,)),
    (keras.layers.Dense(5, use_bias=False, name="d"), (6, 4)),
    (keras.layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="de", name="d"), (6, 4)),
    (keras.layers.EinsumDense("abcd,cde->abe", (None, 5), bias_axes="e", name="d"), (6, 3, 2)),
    (keras.layers.EinsumDense("...c,cde->...de", (6, 3, 2), name="d"), (6, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@pytest.mark.parametrize("bias", ["none", "lora_only"])
def test_it_is_the_product_form(layer, shape, bias):
    layer = type(layer).from_config(layer.get_config())
    model, injection = injected(layer, shape, bias=bias)
    x = RANDOM.normal(size=(8, *shape)).astype("float32")
    assert folds(injection.base, injection.form, x, injection.adapters.values())
    for one, other in zip(learned(model, x, True), learned(model, x, False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(other).max()))


def test_at_the_start_it_is_the_base_to_the_bit():
    """W + s A 0 is W."""
    x = keras.Input((6, 4))
    base = keras.Model(x, keras.layers.Dense(5, name="d")(x))
    batch = RANDOM.normal(size=(2, 6, 4)).astype("float32")
    before = ops.convert_to_numpy(base(batch))
    np.testing.assert_array_equal(peft.inject(base, "lora", "d", train=None)(batch, training=True), before)


@pytest.mark.parametrize("traced", [False, True])
def test_a_gradient_of_a_gradient_goes_through_the_kernel(traced):
    """A penalty on the gradient of x, as it is taken against adversarial examples, moves A and B as the product form does."""
    import tensorflow as tf

    x = keras.Input((4,))
    h = keras.layers.Dense(6, activation="tanh", name="first")(x)
    model = peft.inject(
        keras.Model(x, keras.layers.Dense(3, name="last")(h)), "lora", ["first", "last"], train=None, rank=2
    )
    for one in model.trainable_variables:
        one.assign(0.3 * RANDOM.normal(size=one.shape))
    batch = tf.constant(RANDOM.normal(size=(5, 4)).astype("float32"))

    def moved(training):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(batch)
                loss = ops.sum(ops.square(model(batch, training=training)))
            penalty = ops.sum(ops.square(inner.gradient(loss, batch)))
        return outer.gradient(penalty, [one.value for one in model.trainable_variables])

    moved = tf.function(moved) if traced else moved
    for one, other in zip(moved(True), moved(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


def test_a_regularizer_of_the_output_takes_what_comes_out():
    """Of the adapters too, in a folded step and without; the base has it back when it comes home."""
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, activation="relu", activity_regularizer=keras.regularizers.L2(1.0), name="d")
    model = peft.inject(keras.Model(x, layer(x)), "lora", "d", train=None, rank=2)
    for one in model.trainable_variables:
        one.assign(RANDOM.normal(size=one.shape))
    batch = RANDOM.normal(size=(5, 4)).astype("float32")
    for training in (True, False):
        y = ops.convert_to_numpy(model(batch, training=training))
        np.testing.assert_allclose([float(one) for one in model.losses], [np.square(y).sum() / len(y)], rtol=1e-5)
    base = peft.eject(model)
    y = ops.convert_to_numpy(base(batch))
    np.testing.assert_allclose([float(one) for one in base.losses], [np.square(y).sum() / len(y)], rtol=1e-5)


@pytest.mark.parametrize(
    ("equation", "is_matrix"),
    [
        ("abc,cde->abde", True),
        ("abcd,cde->abe", True),
        ("btd,ndh->btnh", False),  # Gemma: the rows in the middle
        ("eti,eih->eth", False),  # experts
        ("abc,dc->abd", False),  # the kernel lies across
        ("abc,cde->abed", False),  # the columns come in another order
        ("cab,cd->abd", False),
    ],
)
def test_which_kernels_are_matrices(equation, is_matrix):
    assert split_equation(equation).is_matrix is is_matrix


@pytest.mark.parametrize("case", ["dropout", "half", "trainable", "int8", "small"])
def test_otherwise_the_product_form_stays(case):
    """What A does not see whole, a kernel that trains, that would round, is quantised or larger than x, is not folded."""
    x = keras.Input((8,))
    layer = keras.layers.Dense(4, name="d", dtype="bfloat16" if case == "half" else "float32")
    base = keras.Model(x, layer(x))
    if case == "int8":
        base = peft.quantize(base, "int8", where="d")
    model = peft.inject(base, "lora", "d", train=None, rank=2, dropout=0.5 if case == "dropout" else 0.0)
    (injection,) = model.injections
    if case == "trainable":
        injection.base.kernel.trainable = True
    x = np.ones((2 if case == "small" else 4, 8), "float32")
    assert not folds(injection.base, injection.form, x, injection.adapters.values())
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(np.ones((4, 8)), np.ones((4, 4)), verbose=0).history["loss"][0])
