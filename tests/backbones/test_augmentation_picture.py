"""The picture of the levels: a row a level, the picture as it is first, views that differ, repeatable."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer.backbones import show_augmentation


def grid(figure):
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes]


@pytest.mark.fast(1)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_row_a_level_with_the_picture_first(channels):
    picture = np.random.default_rng(0).integers(0, 256, (24, 30, channels), dtype="uint8")
    figure = show_augmentation(picture, views=4)
    shown = grid(figure)
    assert len(shown) == 3 * 5
    assert [figure.axes[5 * row].get_ylabel() for row in range(3)] == ["light", "medium", "strong"]
    for row in range(3):
        np.testing.assert_array_equal(shown[5 * row], picture[..., 0] if channels == 1 else picture)
        views = shown[5 * row + 1 : 5 * row + 5]
        assert all(np.abs(view.astype(float) - shown[5 * row]).mean() > 1 for view in views)
        assert len({view.tobytes() for view in views}) == 4
    for first, second in zip(shown, grid(show_augmentation(picture, views=4)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_files_and_several_pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype="uint8")
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    figure = show_augmentation([tmp_path / "a.png"], "strong", 2, size=32)
    assert [image.shape for image in grid(figure)] == [(32, 32, 3)] * 3
    assert len(show_augmentation(pixels, ["light", "none"], 2).axes) == 2 * 2 * 3
    assert figure._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((np.zeros((4, 4)),), r"Pictures to show are files, or pixels of shape .* Received: ndarray of shape \(4, 4\)"),
        ((np.full((4, 4, 3), 0.5),), r"Pixels must be in 0\.\.255\. Received: values in 0.5\.\.0.5"),
        ((np.full((4, 4, 3), 300.0),), r"Pixels must be in 0\.\.255\. Received: values in 300\.\.300"),
        ((np.zeros((4, 4, 3)), "heavy"), r"Unknown augmentation\. .* Received: 'heavy'"),
        ((np.zeros((4, 4, 3)), []), r"There must be a level and a view to show\. Received: levels=\[\], views=6"),
        ((np.zeros((4, 4, 3)), "light", 0), r"There must be a level and a view to show\. .* views=0"),
    ],
)
def test_bad_input_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        show_augmentation(*arguments)
