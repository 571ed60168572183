"""A small classifier and pictures to measure it on."""

import numpy as np
import pytest


def build_model(seed=0):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    pictures = keras.Input((16, 16, 3), name="pictures")
    x = keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3)], name="augmentation")(pictures)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 127.5, -1, name="preprocessing")(x))
    head = keras.Sequential([layers.Dropout(0.5), layers.Dense(3, dtype="float32", name="logits")], name="head")
    model = keras.Model(pictures, head(layers.GlobalAveragePooling2D(name="pooling")(x)))
    model.set_weights([w * 3 for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def build():
    return build_model


@pytest.fixture(scope="session")
def model():
    return build_model()


@pytest.fixture(scope="session")
def photos():
    rng = np.random.default_rng(1)
    grids = rng.integers(0, 256, (40, 4, 4, 3), dtype="uint8")
    return grids.repeat(4, 1).repeat(4, 2), np.arange(40) % 3
