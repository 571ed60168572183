"""Grey pictures and a fourth channel in front of weights made for colour: the RGB model's own answers at the start."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier, build_encoder
from keras_transfer.core.prefix import cut
from keras_transfer.export.inference import inference_model
from keras_transfer.tuning import feature_extraction, full

SIDE = 32


@pytest.fixture(scope="module")
def colour_weights(tmp_path_factory):
    """A weights file for RGB, which no seed can give twice."""
    path = tmp_path_factory.mktemp("weights") / "rgb.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)).save_weights(
        path
    )
    return path


def pixels(channels, count=4):
    return np.random.default_rng(2).integers(0, 256, (count, SIDE, SIDE, channels)).astype("float32")


def encoder(weights, channels):
    return build_encoder("mobilenet_0.25", weights=weights, input_shape=(SIDE, SIDE, channels))


def classifier(weights, channels):
    return build_classifier(
        "mobilenet_0.25", 2, weights=weights, input_shape=(SIDE, SIDE, channels), augmentation="none", dropout=0.0
    )


def test_a_grey_picture_is_the_same_in_rgb(colour_weights):
    grey, rgb = encoder(colour_weights, 1), encoder(colour_weights, 3)
    x = pixels(1)
    np.testing.assert_array_equal(np.asarray(grey(x)), np.asarray(rgb(np.repeat(x, 3, axis=-1))))
    assert grey.count_params() == rgb.count_params()
    assert [layer.name for layer in grey.layers][1:] == ["to_rgb", "preprocessing", "backbone", "pooling"]


def test_a_fourth_channel_says_nothing_at_the_start(colour_weights):
    four, rgb = encoder(colour_weights, 4), encoder(colour_weights, 3)
    x = pixels(4)
    other = x.copy()
    other[..., 3] = 255 - other[..., 3]
    expected = np.asarray(rgb(x[..., :3]))
    np.testing.assert_array_equal(np.asarray(four(x)), expected)
    np.testing.assert_array_equal(np.asarray(four(other)), expected)
    assert four.count_params() == rgb.count_params() + 12
    assert not four.trainable_weights


@pytest.mark.slow
def test_the_projection_is_frozen_by_feature_extraction_and_trained_by_full(colour_weights):
    model = classifier(colour_weights, 4)
    start = np.asarray(model.get_layer("to_rgb").kernel)
    np.testing.assert_array_equal(start[0, 0], np.eye(4, 3))
    data = (pixels(4), np.array([0, 1, 0, 1]))
    settings = {"epochs": 1, "batch_size": 4, "verbose": 0}
    feature_extraction(model, *data, views=1, **settings)
    np.testing.assert_array_equal(np.asarray(model.get_layer("to_rgb").kernel), start)
    assert cut(model).prefix.get_layer("to_rgb") is model.get_layer("to_rgb")
    full(model, *data, **settings)
    assert (np.asarray(model.get_layer("to_rgb").kernel)[0, 0, 3] != 0).all()


@pytest.mark.fast(1)
@pytest.mark.parametrize("channels", [4, 1])
def test_a_saved_model_answers_alike_in_plain_keras(colour_weights, channels, tmp_path):
    model = classifier(colour_weights, channels)
    model.save(tmp_path / "m.keras")
    x = pixels(channels)
    expected = np.asarray(inference_model(model)(x))
    np.testing.assert_array_equal(
        np.asarray(inference_model(keras.models.load_model(tmp_path / "m.keras"))(x)), expected
    )


def test_a_file_for_one_channel_is_taken_as_it_is(tmp_path):
    own = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(SIDE, SIDE, 1))
    own.save_weights(tmp_path / "grey.weights.h5")
    model = encoder(tmp_path / "grey.weights.h5", 1)
    assert model.get_layer("backbone").input_shape == (None, SIDE, SIDE, 1)
    assert "to_rgb" not in [layer.name for layer in model.layers]
    np.testing.assert_array_equal(model.get_layer("backbone").get_weights()[0], own.get_weights()[0])


def test_a_model_of_ones_own_for_rgb(small_backbone):
    grey = build_classifier(small_backbone(), 2, input_shape=(16, 16, 1), augmentation="strong")
    assert grey.input_shape == (None, 16, 16, 1)
    assert np.asarray(grey(np.ones((2, 16, 16, 1)), training=True)).shape == (2, 2)


def test_other_numbers_of_channels_are_refused(colour_weights):
    with pytest.raises(ValueError, match=r"one \(grey\), three or four channels; .* Received: 2 channels"):
        encoder(colour_weights, 2)
    assert encoder(None, 2).input_shape == (None, SIDE, SIDE, 2)
