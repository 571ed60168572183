"""Whatever `fit` takes, as one kind of thing: pictures and labels that can be asked for by index, or a stream."""

import hashlib
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np


@runtime_checkable
class Source(Protocol):
    """Samples by index: `gather(indices)` gives `(x, y)` or `(x, y, sample_weight)`; `fingerprint` names the content or is None."""

    @property
    def fingerprint(self) -> str | None:
        """A digest of the content, or None where it is not known."""
        ...

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def gather(self, indices: np.ndarray) -> tuple[Any, ...]:
        """The samples at `indices`, as a batch."""
        ...


class ArraySource:
    """NumPy arrays (or what turns into them) as a `Source`."""

    def __init__(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        parts = [x, y] if sample_weight is None else [x, y, sample_weight]
        self.arrays = [np.asarray(part) for part in parts]
        if len({len(part) for part in self.arrays}) != 1:
            raise ValueError(
                f"x, y and sample_weight must have equal lengths. Received: {[len(part) for part in self.arrays]}"
            )
        if not len(self.arrays[0]):
            raise ValueError("There must be at least one sample. Received: empty arrays")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def gather(self, indices: np.ndarray) -> tuple[Any, ...]:
        return tuple(part[indices] for part in self.arrays)

    @cached_property  # `isinstance(x, Source)` may look at it, and hashing is not free
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in self.arrays:
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


class Batches(keras.utils.PyDataset):
    """Batches of a `Source`, in order or in a new seeded order every epoch.

    Keras' own shuffle repeats one order in every epoch under a global seed; this one does not, and gives the same
    orders whether a sample is a picture or its cached activations. `bounds` (0, ..., n) sets batches of given sizes.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        bounds: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.source, self.shuffle, self.seed = source, shuffle, seed
        self.bounds = bounds or [*range(0, len(source), batch_size), len(source)]
        self.epoch = 0
        self._order = self._new_order()

    @property
    def num_batches(self) -> int:
        return len(self.bounds) - 1

    @property
    def ragged(self) -> bool:
        """Whether batches differ in length, as those of texts do."""
        return bool(getattr(self.source, "ragged", False))

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.gather(self._order[self.bounds[index] : self.bounds[index + 1]])

    def gather(self, indices: np.ndarray) -> tuple[Any, ...]:
        """The batch of the samples at `indices`."""
        return self.source.gather(indices)

    def skip(self, epochs: int) -> None:
        """Go on as after so many epochs."""
        self.epoch = epochs
        self._order = self._new_order()

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._order = self._new_order()

    def _new_order(self) -> np.ndarray:
        count = len(self.source)
        return np.random.default_rng([self.seed, self.epoch]).permutation(count) if self.shuffle else np.arange(count)
