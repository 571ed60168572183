"""Weights load exactly or not at all: both kinds of .h5 file, with and without a classifier, and every way to fail."""

import shutil

import h5py
import keras
import numpy as np
import pytest

from keras_transfer.backbones import load_weights_exactly, weights
from keras_transfer.backbones.h5 import compare, read

SHAPE = (32, 32, 3)


def mobilenet(alpha=0.25, top=False, constructor="MobileNet", classes=7):
    extra = {"classes": classes} if top else {}
    make = getattr(keras.applications, constructor)
    return make(alpha=alpha, weights=None, include_top=top, input_shape=SHAPE, **extra)


def scrambled(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype("float32") for w in model.get_weights()])
    return model


def assert_same(model, source):
    expected = source.get_weights()[: len(model.get_weights())]
    for mine, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def assert_refused(model, path, match):
    before = model.get_weights()
    with pytest.raises(ValueError, match=match) as caught:
        load_weights_exactly(model, path)
    assert str(caught.value).endswith(f"Received: {str(path)!r}")
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


@pytest.mark.fast(1)
@pytest.mark.parametrize("constructor", ["MobileNet", "MobileNetV2"])
@pytest.mark.parametrize("top", [False, True])
def test_loads_what_was_saved(tmp_path, constructor, top):
    alpha = 0.35 if constructor == "MobileNetV2" else 0.25
    source = scrambled(mobilenet(alpha, top, constructor))
    source.save_weights(tmp_path / "x.weights.h5")
    shutil.copy(tmp_path / "x.weights.h5", tmp_path / "renamed.h5")
    source.save(tmp_path / "old.h5")
    model = mobilenet(alpha, False, constructor)
    random = model.get_weights()
    for name in ("x.weights.h5", "renamed.h5", "old.h5"):
        model.set_weights(random)
        assert load_weights_exactly(model, tmp_path / name) is model
        assert_same(model, source)


@pytest.mark.fast(1)
@pytest.mark.parametrize("kind", ["new.weights.h5", "old.h5"])
def test_a_compiled_and_trained_models_file(tmp_path, small_backbone, kind):
    """The optimizer's state and random layers in the file are none of the backbone's business."""
    base = small_backbone()
    layers = [keras.layers.GlobalAveragePooling2D()(base.output), keras.layers.Dropout(0.5)]
    source = keras.Model(base.input, keras.layers.Dense(2, name="predictions")(layers[1](layers[0])))
    source.compile("adam", "mse")
    source.fit(np.ones((4, 16, 16, 3)), np.ones((4, 2)), verbose=0)
    source.save_weights(tmp_path / kind) if kind.endswith("weights.h5") else source.save(tmp_path / kind)
    model = small_backbone(name="other")
    assert_same(load_weights_exactly(model, tmp_path / kind), source)


def test_kernels_stored_as_float16(tmp_path, small_backbone):
    source = scrambled(small_backbone())
    source.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        half = file["layers/conv2d/vars/0"][:].astype("float16")
        del file["layers/conv2d/vars/0"]
        file.create_dataset("layers/conv2d/vars/0", data=half, compression="gzip")
    model = load_weights_exactly(small_backbone(), tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model.get_layer("first").get_weights()[0], half.astype("float32"))
    np.testing.assert_array_equal(
        model.get_layer("second").get_weights()[0], source.get_layer("second").get_weights()[0]
    )


@pytest.mark.slow
def test_efficientnet_with_its_running_numbers(tmp_path):
    """A second model has `normalization_1` where the older kind of file has `normalization`: the order decides."""
    source, model = (
        keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=SHAPE) for _ in range(2)
    )
    normalization = [np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]), np.array(0)]
    source.get_layer(index=2).set_weights(normalization)
    source.save_weights(tmp_path / "a.weights.h5")
    source.save(tmp_path / "a.h5")
    random = model.get_weights()
    for kind in ("a.weights.h5", "a.h5"):
        model.set_weights(random)
        load_weights_exactly(model, tmp_path / kind)
        assert_same(model, source)
        x = np.ones((1, 2, 2, 3), "float32")
        expected = (x - normalization[0]) / np.sqrt(normalization[1])
        np.testing.assert_allclose(np.asarray(model.get_layer(index=2)(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["a.weights.h5", "a.h5"])
def test_another_width_names_the_first_mismatch_and_the_width_that_fits(tmp_path, kind):
    source = mobilenet(0.5, top=True)
    source.save_weights(tmp_path / kind) if kind.endswith("weights.h5") else source.save(tmp_path / kind)
    words = r"layer 'conv1' needs weights of shape \(3, 3, 3, 8\), the file has \(3, 3, 3, 16\)"
    assert_refused(mobilenet(0.25), tmp_path / kind, rf"{words}\. The file fits 'mobilenet_0.5'\.")


def test_another_family_is_named_too(tmp_path):
    mobilenet(0.35, constructor="MobileNetV2").save_weights(tmp_path / "a.weights.h5")
    assert_refused(mobilenet(0.25), tmp_path / "a.weights.h5", r"The file fits 'mobilenet_v2_0.35'\.")


def test_few_backbones_are_built_to_find_the_one_that_fits(tmp_path, monkeypatch):
    """Building all fifty would take minutes: the number of parameters in the file leaves one."""
    source = keras.applications.MobileNetV3Small(weights=None, classes=7, input_shape=SHAPE)
    source.save_weights(tmp_path / "a.weights.h5")
    tried = []
    monkeypatch.setattr(weights, "compare", lambda model, file: tried.append(model.name) or compare(model, file))
    assert weights.fitting_name(read(tmp_path / "a.weights.h5")) is None  # it has a layer more than a classifier
    keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=SHAPE).save(tmp_path / "a.h5")
    assert weights.fitting_name(read(tmp_path / "a.h5")) == "mobilenet_v3_small"
    assert len(tried) <= 2


def test_a_file_that_fits_nothing_says_only_what_does_not_fit(tmp_path, small_backbone):
    small_backbone().save_weights(tmp_path / "a.weights.h5")
    assert_refused(mobilenet(), tmp_path / "a.weights.h5", r"the file has \(3, 3, 3, 4\)\. Received")


@pytest.mark.parametrize("kind", ["a.weights.h5", "a.h5"])
def test_a_deeper_mismatch_assigns_nothing(tmp_path, small_backbone, kind):
    """Only the last layer differs, so that a loader that goes from layer to layer would have changed the first."""
    base = small_backbone()
    cut = base.get_layer("first_relu").output
    other = keras.Model(base.input, keras.layers.Conv2D(9, 3, 2, padding="same", name="second")(cut))
    other.save_weights(tmp_path / kind) if kind.endswith("weights.h5") else other.save(tmp_path / kind)
    assert_refused(
        small_backbone(),
        tmp_path / kind,
        r"layer 'second' needs weights of shape \(3, 3, 4, 8\), the file has \(3, 3, 4, 9\)",
    )


@pytest.mark.parametrize("kind", ["a.weights.h5", "a.h5"])
def test_a_file_with_too_little_or_too_much(tmp_path, small_backbone, kind):
    def save(model):
        model.save_weights(tmp_path / kind) if kind.endswith("weights.h5") else model.save(tmp_path / kind)

    base = small_backbone()
    save(keras.Model(base.input, base.get_layer("first_relu").output))
    assert_refused(
        small_backbone(), tmp_path / kind, "layer 'second' needs weights of shape .*, the file has none there"
    )
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    save(keras.Model(base.input, keras.layers.Dense(2)(keras.layers.Dense(5)(x))))
    assert_refused(small_backbone(), tmp_path / kind, "holds more than the model and one classifier layer: .*dense")
    save(keras.Model(base.input, keras.layers.Conv2D(2, 3, name="third")(base.output)))
    assert_refused(small_backbone(), tmp_path / kind, "holds more than the model and one classifier layer")


def test_what_is_no_weights_file(tmp_path, small_backbone):
    model = small_backbone()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.h5").write_text("not HDF5")
    model.save(tmp_path / "whole.keras")
    model.save_weights(tmp_path / "full.weights.h5")
    (tmp_path / "cut.weights.h5").write_bytes((tmp_path / "full.weights.h5").read_bytes()[:-500])
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["numbers"] = np.zeros(3)
    assert_refused(model, tmp_path / "absent.h5", "must be 'imagenet', None or an .h5 file that exists")
    assert_refused(model, tmp_path / "folder", "not a folder")
    assert_refused(model, tmp_path / "text.h5", "this is no whole HDF5 file")
    assert_refused(model, tmp_path / "cut.weights.h5", "this is no whole HDF5 file")
    assert_refused(model, tmp_path / "whole.keras", "load it with keras.models.load_model")
    assert_refused(model, tmp_path / "empty.h5", "this file holds none")


def test_arrays_outside_the_file_are_refused(tmp_path, small_backbone):
    """An HDF5 file may point to any other file of the machine; weights have no reason to."""
    model = small_backbone()
    model.save_weights(tmp_path / "a.weights.h5")
    (tmp_path / "raw").write_bytes(bytes(4 * 4))
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        del file["layers/conv2d/vars/1"]
        file.create_dataset("layers/conv2d/vars/1", (4,), "float32", external=[(str(tmp_path / "raw"), 0, 16)])
    assert_refused(model, tmp_path / "a.weights.h5", "must stand in the file itself, but 'layers/conv2d/vars/1'")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        del file["layers/conv2d/vars/1"]
        file["layers/conv2d/vars/1"] = h5py.ExternalLink(str(tmp_path / "raw"), "x")
    assert_refused(
        model, tmp_path / "a.weights.h5", r"layer 'first' needs weights of shape \(4,\), the file has none there"
    )
