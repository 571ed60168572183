"""Arrays of pictures and labels, checked at the border: uint8 (n, h, w, C) and integer labels inside."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from .assemble import Table, check_class_names
from .pictures import parallel
from .reading import pixel_digest
from .resize import check_image_size, resize

CHUNK = 256  # small pictures go to the threads in handfuls, or handing them over costs more than resizing


def read_arrays(
    parts: dict[str, Any], class_names: Sequence[str] | None, image_size: int | tuple[int, int] | None, how: str
) -> tuple[Table, np.ndarray]:
    """The table of all parts ("train", maybe "validation" and "test": pairs (x, y)), and their pixels in its order."""
    class_names = None if class_names is None else check_class_names(class_names)
    classes = None if class_names is None else len(class_names)
    arrays: dict[str, np.ndarray] = {}
    targets: list[int] = []
    for split, pair in parts.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"`{split}` must be a pair (x, y). Received: {type(pair).__name__}")
        arrays[split] = check_pictures(pair[0], f"x of {split}")
        found, classes = check_targets(pair[1], len(arrays[split]), classes, f"y of {split}")
        targets += found.tolist()
        channels = arrays["train"].shape[-1]
        if arrays[split].shape[-1] != channels:
            raise ValueError(
                f"x of {split} must have as many channels as x of train, {channels}. "
                f"Received: shape {arrays[split].shape}"
            )
    class_names = class_names or check_class_names([str(label) for label in range(classes or 0)])
    missing = sorted(set(range(len(class_names))) - set(targets[: len(arrays["train"])]))
    if missing:
        raise ValueError(
            f"Each class needs training pictures; {class_names[missing[0]]!r} (label {missing[0]}) has none. "
            f"Received: labels {sorted(set(targets[: len(arrays['train'])]))[:20]}"
        )
    size = arrays["train"].shape[1:3] if image_size is None else check_image_size(image_size)
    names = [f"{split}[{row}]" for split, array in arrays.items() for row in range(len(array))]
    splits = [split if len(parts) > 1 else None for split, array in arrays.items() for _ in array]
    digests = [pixel_digest(as_uint8(picture)) for array in arrays.values() for picture in array]
    table = Table(tuple(class_names), names, targets, splits, digests, digests, f"arrays of {len(names)} pictures")
    return table, resized(list(arrays.values()), size, how)


def check_pictures(x: Any, what: str) -> np.ndarray:
    """`x` as (n, height, width, channels), uint8 or numbers within 0..255 (rounded later, a picture at a time)."""
    x = np.asarray(x)
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] not in (1, 3, 4) or 0 in x.shape:
        hint = "; move the channels last" if x.ndim == 4 and x.shape[1] in (1, 3, 4) else ""
        raise ValueError(
            f"{what} must be pictures of shape (n, height, width, channels) with 1, 3 or 4 channels, or "
            f"(n, height, width){hint}. Received: shape {x.shape}"
        )
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{what} must hold numbers from 0 to 255 (uint8 or float). Received: {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError(f"{what} must be finite; remove NaN and infinity. Received: {(~np.isfinite(x)).sum()} of them")
    low, high = x.min(), x.max()
    if low < 0 or high > 255:
        raise ValueError(
            f"{what} must lie in 0..255, as pixels come from a file; undo any normalisation, the model does its own. "
            f"Received: values from {low:g} to {high:g}"
        )
    if high <= 1 and x.dtype.kind == "f" and (x != np.rint(x)).any():
        raise ValueError(f"{what} must lie in 0..255, not in 0..1; multiply by 255. Received: values up to {high:g}")
    return x


def check_targets(y: Any, count: int, classes: int | None, what: str) -> tuple[np.ndarray, int]:
    """Labels as integers (n,) with the number of classes; `y` is (n,) or (n, 1) integers, or one-hot (n, K)."""
    y = np.asarray(y)
    if y.ndim == 0 or len(y) != count:
        raise ValueError(f"{what} must have one label for each of the {count} pictures. Received: shape {y.shape}")
    if y.ndim not in (1, 2) or y.dtype.kind not in "fiub" or not np.isfinite(y).all() or (y != np.rint(y)).any():
        raise ValueError(
            f"{what} must be integers of shape (n,) or (n, 1), or one-hot rows (n, classes). "
            f"Received: {y.dtype} of shape {y.shape}"
        )
    if y.ndim == 2 and y.shape[1] > 1:
        if not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
            raise ValueError(f"One-hot {what} must have exactly one 1 in each row, else 0. Received: shape {y.shape}")
        if classes not in (None, y.shape[1]):
            raise ValueError(f"One-hot {what} must have one column per class, {classes}. Received: shape {y.shape}")
        return y.argmax(axis=1), y.shape[1]
    y = y.reshape(-1).astype(np.int64)
    classes = int(y.max()) + 1 if classes is None else classes
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"{what} must lie in 0..{classes - 1}, one number per class name. "
            f"Received: labels from {y.min()} to {y.max()}"
        )
    return y, classes


def resized(arrays: Sequence[np.ndarray], image_size: tuple[int, int], how: str) -> np.ndarray:
    """All pictures in one uint8 array of `image_size`, each as the one resize function gives it."""
    pixels = np.empty((sum(map(len, arrays)), *image_size, arrays[0].shape[-1]), np.uint8)
    start = 0
    for x in arrays:
        part = pixels[start : start + len(x)]
        start += len(x)

        def fill(first: int, x: np.ndarray = x, part: np.ndarray = part) -> None:
            if x.shape[1:3] == image_size and how != "crop":  # crop zooms in, also on a picture of the right size
                part[first : first + CHUNK] = as_uint8(x[first : first + CHUNK])
                return
            for row in range(first, min(first + CHUNK, len(x))):
                part[row] = resize(as_uint8(x[row]), image_size, how)

        deque(parallel(fill, range(0, len(x), CHUNK)), maxlen=0)
    return pixels


def as_uint8(picture: np.ndarray) -> np.ndarray:
    """Numbers in 0..255 rounded to the nearest grey level."""
    return picture if picture.dtype == np.uint8 else np.rint(picture).astype(np.uint8)
