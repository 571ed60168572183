"""Augmentation: the identity outside training, within 0..255 inside, each pixel from where the formula says."""

import json

import keras
import numpy as np
import pytest

from keras_transfer.backbones import Augmentation, RandomView, augmentation_layers

LEVELS = ("light", "medium", "strong")


def pictures(channels=3, count=6, size=(20, 24)):
    return np.random.default_rng(0).uniform(0, 255, (count, *size, channels)).astype("float32")


def moved(layer, x):
    return np.asarray(layer(x, training=True))


def resample(picture, row, column):
    """Bilinear reading of one picture at real positions, the edge repeated: written for this test alone."""
    height, width, _ = picture.shape

    def at(r, c):
        return picture[np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)]

    r0, c0 = np.floor(row).astype(int), np.floor(column).astype(int)
    a, b = (row - r0)[..., None], (column - c0)[..., None]
    top, bottom = at(r0, c0) * (1 - b) + at(r0, c0 + 1) * b, at(r0 + 1, c0) * (1 - b) + at(r0 + 1, c0 + 1) * b
    return top * (1 - a) + bottom * a


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("level", LEVELS)
def test_random_in_training_and_the_identity_elsewhere(level, channels):
    x = pictures(channels)
    layers = augmentation_layers(level)
    for out in (layers(x), layers(x, training=False)):
        np.testing.assert_array_equal(np.asarray(out), x)
    first, second = moved(layers, x), moved(layers, x)
    assert first.shape == x.shape
    assert (np.abs(first - x).mean((1, 2, 3)) > 1).all()
    assert np.abs(first - second).mean() > 1
    assert first.min() >= 0
    assert first.max() <= 255


def test_each_picture_gets_its_own_view():
    one = moved(augmentation_layers("light"), np.repeat(pictures(count=1), 5, axis=0))
    assert all(np.abs(one[0] - other).mean() > 0.5 for other in one[1:])


def test_the_view_is_what_its_formula_says():
    x = pictures()
    layer = RandomView(smallest=0.5, rotation=30.0, seed=3)
    transforms = np.asarray(layer.draw(len(x), 20, 24))
    out = moved(RandomView(smallest=0.5, rotation=30.0, seed=3), x)
    rows, columns = np.meshgrid(np.arange(20.0), np.arange(24.0), indexing="ij")
    for picture, view, (a0, a1, a2, b0, b1, b2, *_) in zip(x, out, transforms, strict=True):
        expected = resample(picture, b0 * columns + b1 * rows + b2, a0 * columns + a1 * rows + a2)
        np.testing.assert_allclose(view, expected, atol=0.02)


def test_unrotated_views_stay_inside_and_keep_the_side():
    """Corners of the view lie in the picture; sides lie in [smallest, 1]; half of the views are mirrored."""
    transforms = np.asarray(RandomView(smallest=0.6, seed=0).draw(2000, 20, 24))
    a0, a1, a2, b0, b1, b2 = transforms.T[:6]
    assert not a1.any()
    assert not b0.any()
    for scale, offset, last in ((a0, a2, 23.0), (b1, b2, 19.0)):
        ends = np.stack([offset, offset + scale * last])
        assert ends.min() >= -1e-3
        assert ends.max() <= last + 1e-3
        assert 0.6 <= np.abs(scale).min() < 0.605
        assert 0.995 < np.abs(scale).max() <= 1.0
        assert abs(np.abs(scale).mean() - 0.8) < 0.01
    assert abs((a0 < 0).mean() - 0.5) < 0.04


def test_a_whole_view_is_the_picture_or_its_mirror():
    x = pictures(count=30)
    out = moved(RandomView(smallest=1.0, seed=1), x)
    kinds = [
        (np.abs(view - picture).max() < 0.01, np.abs(view - picture[:, ::-1]).max() < 0.01)
        for view, picture in zip(out, x, strict=True)
    ]
    assert set(kinds) == {(True, False), (False, True)}
    np.testing.assert_allclose(moved(RandomView(smallest=1.0, mirror=False), x), x, atol=0.01)


def test_contrast_falls_as_well_as_rises():
    layer = next(one for one in augmentation_layers("medium").layers if one.name == "contrast")
    x = 127.5 + (pictures(count=200) - 127.5) / 4  # far from the ends, so that nothing is clipped
    ratio = moved(layer, x).std((1, 2, 3)) / x.std((1, 2, 3))
    assert ratio.min() < 0.85
    assert ratio.max() > 1.15


def test_a_seed_repeats_the_views():
    x = pictures()
    np.testing.assert_array_equal(
        moved(augmentation_layers("strong", seed=5), x), moved(augmentation_layers("strong", seed=5), x)
    )
    keras.utils.set_random_seed(7)
    first = moved(augmentation_layers("strong"), x)
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(first, moved(augmentation_layers("strong"), x))


def test_float32_under_mixed_precision(mixed_precision):
    for level in LEVELS:
        out = augmentation_layers(level)(pictures(), training=True)
        assert keras.backend.standardize_dtype(out.dtype) == "float32"


def test_a_plain_call_of_a_model_is_inference():
    """With Keras' own layers `model(x)` would be random, drop units and move BatchNorm's statistics."""
    inputs = keras.Input((20, 24, 3))
    x = keras.layers.BatchNormalization(name="bn")(augmentation_layers("strong")(inputs))
    model = keras.Model(inputs, keras.layers.Dropout(0.9)(x))
    before = [np.asarray(w) for w in model.get_layer("bn").get_weights()]
    np.testing.assert_array_equal(np.asarray(model(pictures())), np.asarray(model(pictures(), training=False)))
    for old, new in zip(before, model.get_layer("bn").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_round_trip_through_a_file(tmp_path):
    inputs = keras.Input((20, 24, 3))
    model = keras.Model(inputs, augmentation_layers("strong")(inputs))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").get_layer("augmentation")
    assert isinstance(again, Augmentation)
    before, after = ([json.dumps(one.get_config()) for one in part.layers] for part in (model.layers[1], again))
    assert before == after
    np.testing.assert_array_equal(np.asarray(again(pictures())), pictures())
    assert np.abs(moved(again, pictures()) - pictures()).mean() > 1


def test_none_is_no_layer():
    assert augmentation_layers("none") is None


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"Unknown augmentation\. Did you mean 'light'\? Received: 'lihgt'"):
        augmentation_layers("lihgt")
    with pytest.raises(ValueError, match=r"`smallest`.* must be in \(0, 1\]\. Received: 0"):
        RandomView(smallest=0)
    with pytest.raises(ValueError, match=r"`rotation` must be in \[0, 180\] degrees\. Received: -1"):
        RandomView(rotation=-1)
