"""Pictures of one split, asked for by index: from memory, or decoded again in parallel threads."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from .resize import load_picture

In = TypeVar("In")
Out = TypeVar("Out")
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
WORKERS = min(16, max(2, _CORES))


def parallel(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`map` in threads, in order; what has not begun is dropped when the caller stops or an error comes."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


class Pixels(Protocol):
    """Where pictures come from: uint8 (rows, height, width, channels) for the rows asked for."""

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The pictures of these rows."""
        ...


class InMemory:
    """Resized pictures in one uint8 array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self.array[rows]


class OnDisk:
    """Files that are decoded again whenever they are asked for, in threads (Pillow frees the interpreter lock)."""

    def __init__(self, paths: Sequence[Path], image_size: tuple[int, int], resize: str, channels: int) -> None:
        self.paths, self.image_size, self.resize, self.channels = list(paths), image_size, resize, channels

    def gather(self, rows: np.ndarray) -> np.ndarray:
        batch = np.empty((len(rows), *self.image_size, self.channels), np.uint8)
        for place, picture in enumerate(parallel(self._load, rows) if len(rows) > 1 else map(self._load, rows)):
            batch[place] = picture
        return batch

    def _load(self, row: int) -> np.ndarray:
        return load_picture(self.paths[row], self.image_size, self.resize, self.channels)


class Pictures:
    """One split: names, labels, and the pictures by index. A `Source`, which every fit and evaluation here takes.

    Example: `x, y = data.splits["validation"].gather([0, 1, 2])`
    """

    def __init__(
        self, pixels: Pixels, rows: np.ndarray, names: list[str], targets: np.ndarray, keys: Sequence[bytes],
        *, num_classes: int, one_hot: bool, recipe: str,
    ) -> None:  # fmt: skip
        self.pixels, self.rows, self.names = pixels, np.asarray(rows, np.int64), names
        self.y = np.asarray(targets, np.int64)
        self.num_classes, self.one_hot = num_classes, one_hot
        self._keys, self._recipe = keys, recipe

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 (b, height, width, channels) and labels, integers (b,) or one-hot float32 (b, classes)."""
        indices = np.asarray(indices, np.int64)
        return self.pixels.gather(self.rows[indices]), self._as_asked(self.y[indices])

    def picture(self, index: int) -> np.ndarray:
        """One picture, uint8 (height, width, channels)."""
        return self.pixels.gather(self.rows[[index]])[0]

    def targets(self) -> np.ndarray:
        """The class index of every picture, (n,), whatever form the labels have."""
        return self.y

    @property
    def labels(self) -> np.ndarray:
        """The labels of all pictures in the form that `gather` gives them."""
        return self._as_asked(self.y)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of what `gather` gives: names, sizes, times and pixels of the files, and how they are resized."""
        digest = hashlib.sha256(self._recipe.encode())
        for row in self.rows:
            digest.update(self._keys[row])
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<Pictures: {len(self)} of {self.num_classes} classes>"

    def _as_asked(self, targets: np.ndarray) -> np.ndarray:
        if not self.one_hot:
            return targets
        return (targets[:, None] == np.arange(self.num_classes)).astype(np.float32)


def dataset(pictures: Pictures, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> Any:
    """A `tf.data.Dataset` of (float32 pictures in 0..255, labels); shuffled anew, with the seed, every time it is read.

    Only indices are shuffled, all of them, so the order is a full permutation and costs nothing; the pictures are
    gathered a batch at a time, several batches at once, ahead of their use.
    """
    import tensorflow as tf

    example, label = pictures.gather([0])
    label_type = tf.as_dtype(label.dtype)

    def gather(indices: Any) -> tuple[Any, Any]:
        x, y = tf.numpy_function(pictures.gather, [indices], [tf.uint8, label_type], stateful=False)
        return (
            tf.ensure_shape(tf.cast(x, tf.float32), (None, *example.shape[1:])),
            tf.ensure_shape(y, (None, *label.shape[1:])),
        )

    indices = tf.data.Dataset.range(len(pictures))
    if shuffle:
        indices = indices.shuffle(len(pictures), seed=seed, reshuffle_each_iteration=True)
    return indices.batch(batch_size).map(gather, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
