"""The pictures that int8 is calibrated on: training pictures, spread over the classes, never the held-out ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.source import ArraySource, Source

PICTURES = 100  # MobileNetV2 1.0 on photos: 200 answer no better, and take twice as long


class Calibration:
    """Up to 100 training pictures; `pictures()` gives them one by one, as the converter asks for them.

    They are taken evenly from every class, and within a class evenly from its first to its last picture.
    """

    def __init__(self, samples: Source | ArraySource, targets: np.ndarray | None, dtype: str = "float32") -> None:
        self.samples, self.dtype = samples, dtype
        self.indices = spread(len(samples) if targets is None else targets, PICTURES)

    def __len__(self) -> int:
        return len(self.indices)

    def pictures(self) -> Iterator[np.ndarray]:
        """The pictures, float32 (1, height, width, channels) each, or token ids."""
        for index in self.indices:
            yield np.asarray(self.samples.gather(np.array([index]))[0], self.dtype)


def find_calibration(data: Any, representative: Any, shape: tuple[int, ...]) -> Calibration:
    """The calibration set from `representative`, or else from the training split of `data`; a `ValueError` without.

    representative: pictures (n, height, width, channels) 0..255, `(x, y)`, a split such as `data.splits["train"]`, or
    an `ImageData`, of which the training split is taken.
    """
    given = data if representative is None else representative
    splits = getattr(given, "splits", None)
    train = splits.get("train") if isinstance(splits, dict) else None
    if train is not None:
        found = Calibration(train, np.asarray(train.targets()))
    elif representative is None:
        raise ValueError(
            "int8 is calibrated on training pictures, and these are not the held-out ones: pass an ImageData as `data`, "
            "or about 100 training pictures (n, height, width, channels), 0..255, as `representative`. "
            f"Received: data of type {type(data).__name__} and no representative"
        )
    else:
        found = _given(representative)
    first = next(found.pictures())
    if first.shape[1:] != tuple(shape):
        raise ValueError(
            f"The representative pictures must have the shape of the model's, {tuple(shape)}. Received: {first.shape[1:]}"
        )
    return found


def spread(classes: np.ndarray | int, count: int) -> np.ndarray:
    """`count` indices (all, where there are fewer), evenly over the classes and evenly within each, in rising order.

    classes: the class index of every picture, (n,), or just how many pictures there are.
    """
    targets = np.zeros(classes, int) if isinstance(classes, (int, np.integer)) else classes
    if count >= len(targets):
        return np.arange(len(targets))
    order = np.argsort(targets, kind="stable")
    if count < len(np.unique(targets)):
        return np.sort(order[np.linspace(0, len(order) - 1, count).round().astype(int)])
    chosen: list[int] = []
    left, rest = count, [np.flatnonzero(targets == one) for one in np.unique(targets)]
    for place, members in enumerate(sorted(rest, key=len)):  # what a small class cannot give, the larger ones do
        share = min(len(members), left // (len(rest) - place))
        chosen += members[np.linspace(0, len(members) - 1, share).round().astype(int)].tolist()
        left -= share
    return np.sort(np.array(chosen, int))


def _given(representative: Any) -> Calibration:
    if isinstance(representative, Source):
        targets = getattr(representative, "targets", None)
        return Calibration(representative, np.asarray(targets()) if callable(targets) else None)
    pair = isinstance(representative, (tuple, list)) and len(representative) == 2
    x, y = representative if pair else (representative, None)
    x = np.asarray(x)
    if x.ndim != 4 or not len(x):
        raise ValueError(
            "`representative` must be an ImageData, a split of it, or training pictures (n, height, width, channels). "
            f"Received: {type(representative).__name__}" + (f" of shape {x.shape}" if x.dtype != object else "")
        )
    labels = None if y is None else np.asarray(y)
    labels = labels.argmax(1) if labels is not None and labels.ndim == 2 and labels.shape[1] > 1 else labels
    if labels is not None and labels.size != len(x):
        raise ValueError(f"Pictures and labels must be equally many. Received: {len(x)} and {labels.size}")
    return Calibration(ArraySource(x, np.zeros(len(x), int)), None if labels is None else labels.reshape(len(x)))
