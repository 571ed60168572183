"""GELU of a training step: the paper's formula and its derivative, and what is left to Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import peft
from keras_transfer.peft.gelu import _gelu, for_training, gelu

X = np.concatenate([np.linspace(-12, 12, 401), [0.0, -80.0, 80.0]])


def approximate():
    """The activation of keras-hub's BERT, found as a model holds it."""
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.BertBackbone(20, 1, 1, 4, 8).get_layer("transformer_layer_0").activation


def tanh_form(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_number_the_papers_formula_and_its_derivative():
    import tensorflow as tf

    x = tf.constant(X, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = gelu(x)
    np.testing.assert_allclose(y, tanh_form(X), atol=1e-5)
    step = 1e-4
    np.testing.assert_allclose(tape.gradient(y, x), (tanh_form(X + step) - tanh_form(X - step)) / (2 * step), atol=1e-5)


@pytest.mark.parametrize("traced", [False, True])
def test_law_it_is_keras_in_the_second_derivative_too(traced):
    import tensorflow as tf

    x = tf.constant(X[abs(X) < 5], "float32")

    def second(function):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = ops.sum(ops.square(function(x)))
            slope = inner.gradient(y, x)
            total = ops.sum(ops.square(slope))
        return [slope, outer.gradient(total, x)]

    second = tf.function(second) if traced else second
    for one, other in zip(second(gelu), second(approximate()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_only_what_it_equals_is_replaced():
    known = approximate()
    assert for_training(known, "float32") is gelu
    assert for_training(known, "float16") is known
    for other in (keras.activations.gelu, keras.activations.relu, lambda x: x):
        assert for_training(other, "float32") is other


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_an_activation_may_be_an_object(rate):
    """`LeakyReLU()` has no name, as a function has."""
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, activation=keras.layers.LeakyReLU(), name="d")
    model = peft.inject(keras.Model(x, layer(x)), "lora", "d", train=None, rank=2, dropout=rate)
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0).history["loss"][0])


def test_a_training_step_of_lora_takes_it_and_predict_does_not(monkeypatch):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.BertBackbone(20, 1, 1, 4, 8)
    model = peft.inject(backbone, "lora", "feedforward_intermediate_dense", train=None, rank=2)
    asked = []
    monkeypatch.setattr("keras_transfer.peft.gelu._gelu", lambda x: asked.append(x) or _gelu(x))
    ids = np.ones((2, 6), "int32")
    x = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": ids}
    model(x, training=False)
    assert not asked
    model(x, training=True)
    assert len(asked) == 1
