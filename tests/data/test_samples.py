"""The digits: exact pixels, and ready for `from_arrays`."""

import numpy as np
from sklearn.datasets import load_digits

from keras_transfer.data import ImageData, digits


def test_digits_are_scaled_to_bytes() -> None:
    x, y = digits()
    assert (x.shape, x.dtype, y.shape) == ((1797, 8, 8), np.uint8, (1797,))
    source = load_digits()
    assert np.abs(x - source.images * 255 / 16).max() <= 0.5
    np.testing.assert_array_equal(y, source.target)


def test_digits_make_a_data_set() -> None:
    data = ImageData.from_arrays(*digits())
    assert (data.image_size, data.channels, len(data.class_names)) == ((8, 8), 1, 10)
    assert sum(map(len, data.splits.values())) == 1797
