"""A small classifier with what may go wrong on export: augmentation, BatchNorm, Dropout, logits in a nested head."""

import numpy as np
import pytest


def build(classes=3, *, end="linear", augmentation=True, channels=3, size=16, seed=0):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    pictures = keras.Input((size, size, channels), name="pictures")
    x = pictures
    if augmentation:
        x = keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3)], name="augmentation")(x)
    x = layers.Rescaling(1 / 127.5, -1, name="preprocessing")(x)
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(x))
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    head = [layers.Dropout(0.5), layers.Dense(classes, activation=end, dtype="float32", name="logits")]
    model = keras.Model(pictures, keras.Sequential(head, name="head")(x), name="small")
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.3, w.shape) ** 2 for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def small():
    return build


def build_mixed(pictures, seed=0):
    """A network whose weights make most of its file, and whose answers on the pictures are of all three classes."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    steps = [keras.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, -1)]
    steps += [layers.Conv2D(32, 3, strides=2, activation="relu", name="conv"), layers.BatchNormalization()]
    steps += [layers.Conv2D(128, 3, strides=2, activation="relu"), layers.Flatten(), layers.Dense(3, name="logits")]
    model = keras.Sequential(steps, name="mixed")
    logits = np.asarray(model(pictures[0].astype("float32"), training=False))
    kernel, bias = model.get_layer("logits").get_weights()
    scale = 3 / logits.std(0)
    model.get_layer("logits").set_weights([kernel * scale, bias - logits.mean(0) * scale])
    return model


@pytest.fixture(scope="session")
def mixed(pictures):
    return lambda seed=0: build_mixed(pictures, seed)


@pytest.fixture(scope="session")
def labelled(mixed, pictures):
    """The pictures with the labels that `mixed()` gives them: Keras' accuracy is 1.0."""
    x = pictures[0]
    return x, np.asarray(mixed()(x.astype("float32"), training=False)).argmax(1)


@pytest.fixture(scope="session")
def pictures():
    rng = np.random.default_rng(1)
    grids = rng.integers(0, 256, (40, 4, 4, 3), dtype="uint8")
    return grids.repeat(4, 1).repeat(4, 2), np.arange(40) % 3


@pytest.fixture(scope="session")
def exported(tmp_path_factory, small, pictures):
    """A folder with an exported model, the model, and its certificate; tests that change files copy it."""
    from keras_transfer.export import export_tflite

    folder, model = tmp_path_factory.mktemp("exported"), small()
    names = ["ant", "bee", "wasp"]
    certificate = export_tflite(model, folder / "model_float32.tflite", data=pictures, class_names=names, resize="crop")
    return folder, model, certificate


@pytest.fixture
def copied(exported, tmp_path):
    """The exported folder again, free to be changed."""
    import shutil

    return shutil.copytree(exported[0], tmp_path / "copy")
