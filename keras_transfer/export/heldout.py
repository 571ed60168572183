"""The held-out pictures of whatever a person has (`ImageData`, a source, arrays, a data set) as batches in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from ..core.source import ArraySource, Source
from ..core.streams import Stream, as_stream


@runtime_checkable
class Splits(Protocol):
    """What `ImageData` and `TextData` promise here: the held-out split by name, and class names."""

    class_names: Sequence[str]

    @property
    def held_out(self) -> tuple[str, Source]:
        """The name of the held-out split (test where given, else validation) and its pictures."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """Pictures and labels in a fixed order. `split` is a split's name, "given" or "random"; `names` are paths."""

    split: str
    samples: Source | ArraySource | Stream
    labelled: bool = True
    names: Sequence[str] | None = None
    class_names: Sequence[str] | None = None
    resize: str | None = None

    def batches(self, batch_size: int = 32, limit: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Batches `(x, y)`, y None without labels.

        `limit` takes so many: evenly spread over samples that have an index, the first ones of a stream.
        """
        if isinstance(self.samples, Stream):
            yield from self._first(limit)
            return
        count = len(self.samples)
        chosen = (
            np.arange(count)
            if limit is None or limit >= count
            else np.linspace(0, count - 1, limit).round().astype(int)
        )
        for start in range(0, len(chosen), batch_size):
            x, y, *_ = self.samples.gather(chosen[start : start + batch_size])
            yield x, y if self.labelled else None

    def _first(self, limit: int | None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        left = limit
        for batch in self.samples:  # type: ignore[union-attr]
            if len(batch) < 2:
                raise ValueError("A data set to measure on gives batches (x, y). Received: batches of pictures alone")
            x, y = batch[:2] if left is None else (batch[0][:left], batch[1][:left])
            if len(x):
                yield x, y
            if left is not None:
                left -= len(x)
                if left <= 0:
                    return


def held_out(data: Any) -> HeldOut:
    """`data` as a `HeldOut`: an `ImageData` gives its test split, or else its validation split.

    Raises `ValueError` for data that is endless, empty, or none of these.
    """
    found = _held_out(data)
    if not isinstance(found.samples, Stream) and not len(found.samples):
        raise ValueError(f"There must be at least one picture to measure on. Received: an empty {type(data).__name__}")
    return found


def _held_out(data: Any) -> HeldOut:
    if isinstance(data, Splits):
        split, samples = data.held_out
        return HeldOut(
            split, samples, names=_names(samples), class_names=data.class_names, resize=getattr(data, "resize", None)
        )
    if isinstance(data, Source):
        return HeldOut("given", data, names=_names(data))
    if isinstance(data, np.ndarray):
        return HeldOut("given", ArraySource(data, np.zeros(len(data), "int32")), labelled=False)
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return HeldOut("given", ArraySource(data[0], data[1]))
    stream = as_stream(data)
    if stream is None:
        raise ValueError(
            "Pictures to measure on are an ImageData, arrays (x, y), or a finite tf.data.Dataset or PyDataset of "
            "batches (x, y). "
            f"Received: {type(data).__name__}"
        )
    return HeldOut("given", stream)


def random_pictures(shape: tuple[int, ...], count: int = 32, seed: int = 0) -> HeldOut:
    """Seeded random pictures (height, width, channels), smooth and rough, for a check where there are no real ones."""
    from ..data.resize import resize

    rng = np.random.default_rng(seed)
    grids = [rng.integers(0, 256, (size, size, shape[2]), "uint8") for size in np.resize([2, 4, 8, 16], count)]
    pictures = np.stack([resize(grid, (shape[0], shape[1])) for grid in grids])
    return HeldOut("random", ArraySource(pictures, np.zeros(count, "int32")), labelled=False)


def check_pictures(inference: keras.Model, x: np.ndarray) -> None:
    """A `ValueError` where a batch does not have the shape that the model takes."""
    wanted = tuple(inference.input_shape[1:])
    if len(x.shape) != len(wanted) + 1 or any(
        a is not None and a != b for a, b in zip(wanted, x.shape[1:], strict=True)
    ):
        raise ValueError(
            f"A batch for this model has shape (batch, {', '.join(map(str, wanted))}). Received: {tuple(x.shape)}"
        )


def _names(samples: Source) -> Sequence[str] | None:
    names = getattr(samples, "names", None)
    return [str(name) for name in names] if names is not None else None
