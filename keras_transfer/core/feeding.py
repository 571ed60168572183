"""From the data that a user has to the batches that a fit takes: pictures, or cached activations of the frozen part."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from .activations import Runner, ViewBatches, activations, run_prefix
from .mixing import Mix, MixedBatches, rows_of
from .prefix import Cut
from .source import ArraySource, Batches, Source
from .streams import NotRepeatable, Replay, Stream, as_stream


@dataclass(frozen=True)
class Feed:
    """How batches are made: their size, whether a source is shuffled every epoch, the seed, and whether a bar is shown."""

    batch_size: int = 32
    shuffle: bool = True
    seed: int = 0
    show: bool | None = None

    def in_order(self) -> "Feed":
        """The same without shuffling, for validation."""
        return replace(self, shuffle=False)


def coerce(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Samples by index as a `Source`, a repeatable data set as a `Stream`, anything else as it is (None stays None)."""
    if y is None and sample_weight is None and isinstance(x, (tuple, list)) and len(x) in (2, 3):
        x, y, sample_weight = (*x, None)[:3]
    if isinstance(x, (str, os.PathLike)):
        raise TypeError(f"A folder is read by `kt.load_images(folder)`; pass what it gives. Received: {str(x)!r}")
    if sample_weight is not None and y is None:
        raise ValueError("`sample_weight` goes with arrays; a data set gives (x, y, sample_weight). Received: no y")
    if isinstance(x, (tuple, list)) and x and isinstance(x[0], str):
        raise TypeError(
            "Texts with labels come as `kt.TextData.from_arrays(texts, labels)`, or from a file by `kt.load_texts`. "
            f"Received: a {type(x).__name__} of strings"
        )
    if isinstance(x, (dict, tuple, list)) and y is not None:
        raise TypeError(
            "Pictures must be one array; for several inputs pass a tf.data.Dataset and a model's own fit. "
            f"Received: {type(x).__name__}"
        )
    if y is not None:
        return ArraySource(x, y, sample_weight)
    if x is None or isinstance(x, Source):
        return x
    if isinstance(x, np.ndarray):
        raise ValueError("Arrays need their labels: pass `y`. Received: x without y")
    return as_stream(x) or x


def plain_feed(data: Any, feed: Feed) -> Any:
    """What `fit` takes: batches of a source, or the user's own data set."""
    if isinstance(data, Stream):
        return data.data
    return Batches(data, feed.batch_size, shuffle=feed.shuffle, seed=feed.seed) if isinstance(data, Source) else data


def mixed_feed(
    mix: Mix, augmentation: Any, data: Any, held_out: Any, classes: int, class_weight: Any, feed: Feed, before: int
) -> tuple[Any, Any]:
    """Batches of augmented and mixed pictures for training, plain ones for validation; the labels of both as rows."""
    if not isinstance(data, Source):
        raise TypeError(
            "`mix` pairs pictures that can be asked for by index: pass ImageData or arrays, or map keras.layers.MixUp over your "
            f"own data set. Received: {type(getattr(data, 'data', data)).__name__}"
        )
    order = {"batch_size": feed.batch_size, "shuffle": feed.shuffle, "seed": feed.seed}
    train = MixedBatches(data, mix, classes, augmentation, class_weight, before=before, **order)
    return train, rows_of(plain_feed(held_out, feed.in_order()), classes)


def steps_per_epoch(data: Any, batch_size: int) -> int | None:
    """How many batches an epoch of coerced data has; None where it cannot be known."""
    if isinstance(data, Source):
        return -(-len(data) // batch_size)
    if not isinstance(data, Stream):
        return None
    if isinstance(data.data, keras.utils.PyDataset):
        return int(data.data.num_batches)
    count = int(data.data.cardinality())
    return count if count > 0 else None


def cached_feed(here: Cut, data: Any, held_out: Any, views: int, feed: Feed) -> tuple[Any, Any, str | None]:
    """Batches of activations for training and validation, or the reason why there can be none."""
    try:
        runner = Runner(here)
        train = _features(runner, data, views, feed)
        held = None if held_out is None else _features(runner, held_out, 1, feed.in_order())
    except NotRepeatable:
        return None, None, "the data gives other samples when it is read again"
    if train is None or (held is None and held_out is not None):
        return None, None, "the data is endless or cannot be read twice"
    return train, held, None


def _features(runner: Runner, data: Any, views: int, feed: Feed) -> keras.utils.PyDataset | None:
    if isinstance(data, Stream):
        replay = Replay(data)
        found = run_prefix(runner, replay.read(), replay.count, views, "Running the frozen part once", feed.show)
        data.check_labels(replay.rest[0])
        batch_size = replay.bounds[1]
        bounds = None if replay.shuffles else replay.bounds
        shuffle = feed.shuffle and replay.shuffles
        return ViewBatches(found, replay.rest, batch_size, shuffle=shuffle, seed=feed.seed, bounds=bounds)
    if not isinstance(data, Source):
        return None
    found = activations(runner, data, views, feed.seed, feed.show)
    lengths = getattr(data, "lengths", None)
    return ViewBatches(found, rest_of(data), feed.batch_size, lengths=lengths, shuffle=feed.shuffle, seed=feed.seed)


def for_keras(batches: Any) -> Any:
    """Batches that differ in length as a `tf.data.Dataset`: of a `PyDataset` Keras takes the shapes of the first two for
    those of all. Anything else is itself. Keras reads ahead, and sometimes a batch for itself: `NewOrder` says when an
    epoch begins."""
    if not getattr(batches, "ragged", False) or keras.config.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def epoch() -> Iterator[tuple[Any, ...]]:
        for index in range(batches.num_batches):
            yield batches[index]

    x, *rest = (np.asarray(part) for part in batches[0])
    shapes = [(None, None, *x.shape[2:]), *((None, *part.shape[1:]) for part in rest)]
    signature = tuple(tf.TensorSpec(shape, part.dtype) for shape, part in zip(shapes, (x, *rest), strict=True))
    data = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(batches.num_batches)).prefetch(tf.data.AUTOTUNE)


class NewOrder(keras.callbacks.Callback):
    """Shuffles batches that differ in length anew in every epoch, as Keras would those of a `PyDataset`."""

    def __init__(self, batches: Any, before: int = 0) -> None:
        super().__init__()
        self.batches, self.before = batches, before

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if getattr(self.batches, "ragged", False):
            self.batches.skip(epoch - self.before)


def rest_of(data: Source) -> list[np.ndarray]:
    """Labels and sample weights of a source, without its pictures where it can say so."""
    if isinstance(data, ArraySource):
        return data.arrays[1:]
    labels = getattr(data, "labels", None)
    return [np.asarray(labels)] if labels is not None else list(data.gather(np.arange(len(data)))[1:])
