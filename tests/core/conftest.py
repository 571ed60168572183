"""A small classifier with a residual backbone, BatchNorm and Dropout: everything a cut can stumble over, in milliseconds."""

import numpy as np
import pytest


def build_small(augmentation: bool = False, seed: int = 0, classes: int = 3):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="conv1")(pixels)
    x = shortcut = layers.BatchNormalization(name="bn1")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.Dropout(0.5, name="inner_dropout")(x)
    x = layers.Add(name="add")([shortcut, x])
    x = layers.Conv2D(8, 3, name="conv3")(x)
    x = layers.BatchNormalization(name="bn3")(x)
    backbone = keras.Model(pixels, x, name="backbone")

    pictures = keras.Input((16, 16, 3), name="pictures")
    x = pictures
    if augmentation:
        x = keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2)], name="augmentation")(x)
    x = layers.Rescaling(1 / 127.5, -1, name="preprocessing")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(backbone(x))
    x = keras.Sequential([layers.Dropout(0.2, name="dropout"), layers.Dense(classes, name="logits")], name="head")(x)
    return keras.Model(pictures, x)


@pytest.fixture
def small_model():
    return build_small


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (50, 16, 16, 3)).astype("float32"), (np.arange(50) % 3)
