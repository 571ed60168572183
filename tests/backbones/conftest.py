"""A small backbone, and mixed precision that ends with the test."""

import keras
import pytest


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def small_backbone():
    """A function that makes a small convolutional net, 16 x 16 x 3 -> 4 x 4 x 8, with BatchNorm."""

    def make(shape=(16, 16, 3), name="small"):
        inputs = keras.Input(shape)
        x = keras.layers.Conv2D(4, 3, 2, padding="same", name="first")(inputs)
        x = keras.layers.BatchNormalization(name="first_bn")(x)
        x = keras.layers.ReLU(name="first_relu")(x)
        x = keras.layers.Conv2D(8, 3, 2, padding="same", name="second")(x)
        x = keras.layers.BatchNormalization(name="second_bn")(x)
        return keras.Model(inputs, x, name=name)

    return make
