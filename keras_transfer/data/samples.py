"""Small real data that needs no download."""

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits: uint8 (1797, 8, 8) in 0..255 (`round(255 v / 16)`) and labels 0..9.

    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), its test part.

    Example: `ImageData.from_arrays(*digits(), image_size=32)`
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * 255 / 16).astype(np.uint8), found.target.astype(np.int64)
