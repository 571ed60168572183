"""Small real data that needs no download."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.messages import nearest
from .images import ImageData


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits: uint8 (1797, 8, 8) in 0..255 (`round(255 v / 16)`) and labels 0..9.

    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), its test part.

    Example: `ImageData.from_arrays(*digits(), image_size=32)`
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * 255 / 16).astype(np.uint8), found.target.astype(np.int64)


def few_digits(*, seed: int = 0, labels_a_class: int = 10, **settings: Any) -> ImageData:
    """The digits as a transfer task: a few labels a class to train on, 497 digits to validate, 900 to test.

    The split into those who may be drawn (400), validation and test is fixed; `seed` draws the labelled ones.
    `settings` are those of `ImageData.from_arrays`.

    Example: `data = few_digits(seed=0, image_size=32)`
    """
    x, y = digits()
    order = np.random.default_rng(2024).permutation(len(x))
    pool, validation, test = order[:400], order[400:897], order[897:]
    shuffled = np.random.default_rng(seed).permutation(pool)
    train = np.concatenate([shuffled[y[shuffled] == label][:labels_a_class] for label in range(10)])
    held = {"validation": (x[validation], y[validation]), "test": (x[test], y[test])}
    return ImageData.from_arrays(x[train], y[train], seed=seed, **{**settings, **held})


SAMPLES: dict[str, Callable[..., ImageData]] = {
    "digits": lambda **settings: ImageData.from_arrays(*digits(), **settings),
    "few_digits": few_digits,
}


def sample(name: str, **settings: Any) -> ImageData:
    """A small data set by its name (`"digits"`, `"few_digits"`); `settings` are those of `ImageData.from_arrays`.

    Example: `data = sample("few_digits", seed=0, image_size=32)`
    """
    if name not in SAMPLES:
        raise ValueError(f"Unknown sample. {nearest(name, SAMPLES)} Received: {name!r}")
    return SAMPLES[name](**settings)
