"""A small frozen classifier, and pictures of three colours that it can tell apart."""

import numpy as np
import pytest


def small_classifier(**settings):
    import keras

    from keras_transfer.backbones import build_classifier

    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((24, 24, 3))
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{block}")(x)
    return build_classifier(keras.Model(pixels, x), 3, **{"preprocessing": "tf", **settings})


@pytest.fixture
def classifier():
    return small_classifier


@pytest.fixture
def pictures():
    """Three colours under noise, 17, 16 and 15 of them."""
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(3), (17, 16, 15))
    x = random.integers(0, 200, (48, 24, 24, 3)).astype("float32")
    x[np.arange(48), :, :, y] += 55 * random.random((48, 1, 1))
    return x, y
