"""Data that can only be read from start to end, and whether it gives the same samples every time."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np


class NotRepeatable(Exception):  # noqa: N818
    """The data gave a sample that it did not give when it was read before."""


class Stream:
    """A finite `tf.data.Dataset` or `PyDataset` of batches `(x, y)` or `(x, y, sample_weight)`.

    `check_labels` is called with all labels where they are read anyway; it may raise.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.check_labels: Callable[[np.ndarray], None] = lambda labels: None

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        if isinstance(self.data, keras.utils.PyDataset):
            batches = (self.data[index] for index in range(self.data.num_batches))
        else:
            batches = self.data.as_numpy_iterator()
        for batch in batches:
            yield tuple(np.asarray(part) for part in batch)
        if isinstance(self.data, keras.utils.PyDataset):
            self.data.on_epoch_end()  # where it may shuffle, or draw other samples


def endless(data: Any) -> bool:
    """Whether a data set says that it has no end."""
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def as_stream(data: Any) -> Stream | None:
    """`data` as a `Stream`, or None where it is endless, a generator, or not made of batches of plain tensors."""
    if isinstance(data, keras.utils.PyDataset):
        return Stream(data) if data.num_batches else None
    if hasattr(data, "element_spec") and hasattr(data, "as_numpy_iterator"):
        spec = data.element_spec
        flat = isinstance(spec, tuple) and len(spec) in (2, 3) and all(hasattr(part, "shape") for part in spec)
        batched = flat and len(spec[0].shape or ()) > 1 and len(spec[1].shape or ()) > 0
        return Stream(data) if batched and not endless(data) else None
    return None


class Replay:
    """Read a stream once to know its samples, then again to use them; sample by sample it must give the same.

    After `read` has run to its end, `rest` holds labels (and weights), `bounds` the batches, and `shuffles` says
    whether the order differed.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._first = [_digests(batch) for batch in stream]
        self.count = sum(len(batch) for batch in self._first)
        if not self.count:
            raise ValueError("A data set must hold at least one sample. Received: an empty one")
        self.bounds = [0, *np.cumsum([len(batch) for batch in self._first]).tolist()]
        self.shuffles = False
        self.rest: list[np.ndarray] = []

    def read(self) -> Iterator[np.ndarray]:
        """The x of every batch; raises `NotRepeatable` at the first sample that is new, or where one is missing at the end."""
        left = Counter(one for batch in self._first for one in batch)
        rest: list[tuple[np.ndarray, ...]] = []
        order: list[bytes] = []
        for batch in self._stream:
            digests = _digests(batch)
            order.extend(digests)
            left.subtract(digests)
            if any(left[one] < 0 for one in digests):
                raise NotRepeatable
            rest.append(batch[1:])
            yield batch[0]
        if any(left.values()):
            raise NotRepeatable
        self.shuffles = order != [one for batch in self._first for one in batch]
        self.rest = [np.concatenate(parts) for parts in zip(*rest, strict=True)]


def _digests(batch: tuple[np.ndarray, ...]) -> list[bytes]:
    parts = [np.ascontiguousarray(part) for part in batch]
    return [
        hashlib.blake2b(b"".join(part[index].tobytes() for part in parts), digest_size=16).digest()
        for index in range(len(parts[0]))
    ]
