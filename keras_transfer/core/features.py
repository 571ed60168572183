"""The features that a frozen backbone gives, computed once: what lies before the head of a classifier, or all of an encoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from .activations import BATCH, Runner, activations
from .feeding import coerce, rest_of, steps_per_epoch
from .freezing import apply_plan, freeze, freeze_plan, unfreeze
from .prefix import Cut, cut, split_augmentation
from .progress import progress
from .reading import in_order
from .selection import find
from .source import ArraySource, Source
from .surgery import own_variables, walk
from .texts import for_model


class Features(NamedTuple):
    """Features (n, d), float32, with the labels as the data has them and its sample weights, None where there are none."""

    x: np.ndarray
    y: Any
    sample_weight: np.ndarray | None


def features(model: keras.Model, x: Any, y: Any = None, *, show: bool | None = None) -> np.ndarray:
    """The features (n, d), float32, of pictures as they are (no augmentation), through the frozen part in inference mode.

    Of a classifier: what comes into its head, the pooled features. Of an encoder: what it gives. They are kept in memory,
    where every later fit with the same backbone, weights and data finds them (and this function those of a fit).

    x: a split of `kt.load_images`, arrays (with or without labels `y`), or a finite data set of batches. The rows are in
    the order of the data. Raises `ValueError` where the model cannot be cut before its head, or gives no rows of numbers.

    Example: `f = features(model, data.splits["train"])`
    """
    if y is None and isinstance(x, np.ndarray):
        x = ArraySource(x, np.zeros(len(x), "int8"))
    return labelled_features(model, x, y, show=show).x


def labelled_features(
    model: keras.Model, x: Any, y: Any = None, sample_weight: Any = None, *, show: bool | None = None
) -> Features:
    """`features` with the labels and weights of the same rows; data that shuffles itself is read once."""
    if hasattr(x, "splits"):
        raise TypeError(f"Features are those of one split: pass data.splits['train']. Received: {type(x).__name__}")
    data = coerce(for_model(x, model), y, sample_weight)
    with before_head(model) as here:
        runner = Runner(here)
        if isinstance(data, Source):
            found = activations(runner, data, 1, 0, show)[0]
            labels, *given = rest_of(data)
            return Features(found, labels, given[0] if given else None)
        text, total = "Running the frozen part once", steps_per_epoch(data, BATCH) or 0
        parts: list[tuple[np.ndarray, Any, Any]] = [
            (runner(np.asarray(pictures), augmented=False), targets, weights)
            for pictures, targets, weights in progress(in_order(data), total=total, text=text, show=show)
        ]
    if not parts:
        raise ValueError("The data must hold at least one sample. Received: an empty set")
    columns = zip(*parts, strict=True)
    rows, y_rows, weight_rows = (None if column[0] is None else np.concatenate(column) for column in columns)
    return Features(np.asarray(rows), y_rows, weight_rows)


@contextmanager
def before_head(model: keras.Model) -> Iterator[Cut]:
    """The cut between the frozen part and the head; what trains and what does not is as it was afterwards."""
    plan = freeze_plan(model)
    try:
        freeze(model)
        if head_of(model):
            unfreeze(model, "head", batch_norm="train")
            here = cut(model)
        else:
            augmentation, rest = split_augmentation(model)
            here = Cut(augmentation, rest, rest)
        if here is None or len(here.prefix.outputs) != 1 or len(here.prefix.outputs[0].shape) != 2:
            raise ValueError(
                "Features are rows of numbers before the head: build the model with kt.build_classifier or "
                f"kt.build_encoder. Received: {type(model).__name__} {model.name!r}, which cannot be cut there"
            )
        yield here
    finally:
        apply_plan(model, plan)


def head_of(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the head that hold weights; none in an encoder, which is what does not end in a Dense."""
    try:
        head = find("head", model)
    except ValueError:
        return []
    layers = [one for layer in head for one in walk(layer) if own_variables(one)]
    return layers if layers and isinstance(layers[-1], keras.layers.Dense) else []
