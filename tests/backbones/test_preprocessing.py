"""Preprocessing equals Keras' own functions, in every dtype policy, and says what it does not take."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3)).astype("float32")


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_equals_keras_to_the_last_bit(mode):
    expected = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode=mode)
    np.testing.assert_array_equal(np.asarray(Preprocessing(mode)(PIXELS)), expected)
    np.testing.assert_array_equal(np.asarray(Preprocessing(mode)(PIXELS.astype("uint8"))), expected)


def test_equals_each_familys_own_function():
    pairs = {
        "tf": keras.applications.mobilenet_v2,
        "caffe": keras.applications.resnet,
        "none": keras.applications.efficientnet,
    }
    for mode, family in pairs.items():
        np.testing.assert_array_equal(np.asarray(Preprocessing(mode)(PIXELS)), family.preprocess_input(PIXELS.copy()))


def test_unit_is_zero_to_one():
    np.testing.assert_array_equal(np.asarray(Preprocessing("unit")(PIXELS)), PIXELS / np.float32(255))


def test_stays_float32_under_mixed_precision(mixed_precision):
    assert keras.backend.standardize_dtype(Preprocessing("tf")(PIXELS).dtype) == "float32"


def test_round_trip_of_the_configuration():
    layer = Preprocessing("torch", name="preprocessing")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.mode, again.name, again.dtype_policy.name) == ("torch", "preprocessing", "float32")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_colour_means_refuse_other_channels(mode, channels):
    with pytest.raises(ValueError, match=f"mean for each of three channels; use 'tf'.* Received: {channels} channels"):
        Preprocessing(mode)(np.zeros((1, 2, 2, channels), "float32"))


def test_an_unknown_mode_gets_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown preprocessing\. Did you mean 'caffe'\? Received: 'cafe'"):
        Preprocessing("cafe")
