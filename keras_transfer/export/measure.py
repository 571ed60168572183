"""The answers of an exported file on labelled pictures, without TensorFlow or Keras; `kt.evaluate` reports on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.texts import for_model
from .litert import LiteRTModel

BATCH = 32


def measure(model: LiteRTModel, data: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str] | None, str]:
    """Probabilities (n, classes), labels as `data` has them, names of the pictures (or None), and which split it was.

    data: an `ImageData` (its held-out split), a split of it, or arrays `(x, y)`. Its pictures must have been read as the
    file wants them, at its size and with its `resize`. Raises `ValueError` for anything else.
    """
    if model.reads_texts and (hasattr(data, "splits") or hasattr(data, "of_one_length")):
        from .litert_texts import tokenizing

        data = for_model(data, tokenizing(model))  # type: ignore[arg-type]
    _check_fit(model, data)
    if hasattr(data, "held_out"):
        split, samples = data.held_out
    elif hasattr(data, "gather") and hasattr(data, "__len__"):
        split, samples = "given", data
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        if model.reads_texts:
            return model.predict(data[0]), np.asarray(data[1]), None, "given"
        x, y = (np.asarray(part) for part in data)
        if x.ndim != 4 or not len(x) or len(x) != len(y):
            raise ValueError(
                "Arrays to measure on are pictures (n, height, width, channels) and n labels. "
                f"Received: shapes {x.shape} and {y.shape}"
            )
        _check_size(model, x.shape[1:])
        return model.predict(x), y, None, "given"
    else:
        raise ValueError(
            "An exported file is measured on an ImageData, a split of it, or arrays (x, y). "
            f"Received: {type(data).__name__}"
        )
    probabilities, targets = [], []
    for start in range(0, len(samples), BATCH):
        x, y, *_ = samples.gather(np.arange(start, min(start + BATCH, len(samples))))
        if not model.reads_texts:
            _check_size(model, x.shape[1:])
        probabilities.append(model.predict(x))
        targets.append(np.asarray(y))
    if not targets:
        raise ValueError(f"There must be at least one picture to measure on. Received: an empty {type(data).__name__}")
    return np.concatenate(probabilities), np.concatenate(targets), getattr(samples, "names", None), split


def _check_fit(model: LiteRTModel, data: Any) -> None:
    names, how = getattr(data, "class_names", None), getattr(data, "resize", None)
    if names is not None and tuple(map(str, names)) != model.labels:
        raise ValueError(f"The classes must be those of the file, {list(model.labels)}. Received: {list(names)}")
    if isinstance(how, str) and not model.reads_texts and how != model.resize:
        raise ValueError(f"The file wants pictures read with resize={model.resize!r}. Received: resize={how!r}")


def _check_size(model: LiteRTModel, shape: tuple[int, ...]) -> None:
    wanted = (*model.image_size, model.channels)
    if tuple(shape) != wanted:
        raise ValueError(f"The file takes pictures of shape {wanted}; read them at that size. Received: {tuple(shape)}")
