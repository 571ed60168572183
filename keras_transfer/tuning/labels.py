"""What must hold of the data before a training begins: labels that can be told apart, a loss that suits them, validation."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ..core.class_weights import balanced, refuse_one_class
from ..core.outputs import classification_loss, gives_logits
from ..core.source import ArraySource, Source
from ..core.streams import Stream, endless
from .focal import FocalCrossentropy


def loss_for(model: keras.Model, loss: Any, x: Any, y: Any = None) -> Any:
    """None is the cross-entropy that suits labels (integers or one-hot rows) and outputs (logits or probabilities).

    "focal" is the focal loss that suits the outputs; any other loss is itself.
    """
    if loss == "focal":
        return FocalCrossentropy(from_logits=gives_logits(model))
    return classification_loss(model, _one_hot(x, y)) if loss is None else loss


def weights_for(class_weight: Any, data: Any) -> Any:
    """The weight of each class as a dict; "balanced" counts the training labels."""
    if not isinstance(class_weight, str):
        return class_weight
    if class_weight != "balanced":
        raise ValueError(
            f"`class_weight` must be 'balanced', a dict {{class: weight}} or None. Received: {class_weight!r}"
        )
    labels = _labels(data)
    if labels is None:
        raise ValueError(
            "`class_weight='balanced'` counts the labels of arrays and ImageData; for another data set give the weights, "
            f"{{class: weight}}. Received: {type(getattr(data, 'data', data)).__name__}"
        )
    return balanced(labels)


def check_data(model: keras.Model, data: Any, validation: Any, steps_per_epoch: int | None, *, labels: bool) -> None:
    """All that can be known of coerced data before the first step; of its `labels` where the loss is of classes."""
    if labels:
        check_labels(model, data, validation)
    check_pictures(model, data)
    check_end(data, steps_per_epoch)


def check_labels(model: keras.Model, data: Any, validation: Any) -> None:
    """Labels that are there as arrays must fit the outputs and each other, and hold two classes."""
    train, held_out = _labels(data), _labels(validation)
    if isinstance(data, Stream):
        data.check_labels = refuse_one_class
    if train is None:
        return
    outputs = model.output_shape[-1]
    if any(labels is not None and labels.dtype.kind not in "iufb" for labels in (train, held_out)):
        raise ValueError(f"Labels must be numbers from 0, or one-hot rows. Received: labels of type {train.dtype}")
    for name, labels in (("The labels", train), ("The labels of the validation data", held_out)):
        if labels is None:
            continue
        one_hot = _rows(labels.shape)
        if one_hot != _rows(train.shape):
            raise ValueError(f"{name} must be of the kind of those to train on. Received: shape {labels.shape}")
        if one_hot and labels.shape[1] != outputs:
            raise ValueError(
                f"{name} must have a column for each of {outputs} outputs. Received: {labels.shape[1]} columns"
            )
        if not one_hot and not (labels.min() >= 0 and labels.max() < outputs):
            raise ValueError(
                f"{name} must be 0 to {outputs - 1}, the model's outputs. Received: {labels.min()} to {labels.max()}"
            )
    refuse_one_class(train)


def check_pictures(model: keras.Model, data: Any) -> None:
    """Pictures that can be asked for must have the model's shape; a model with our preprocessing takes them in 0..255."""
    if not isinstance(data, Source) or len(getattr(model, "inputs", None) or ()) != 1:
        return
    some = np.asarray(data.gather(np.arange(min(len(data), 32)))[0])
    wanted = tuple(model.inputs[0].shape[1:])
    if len(wanted) != some.ndim - 1 or any(
        a is not None and a != b for a, b in zip(wanted, some.shape[1:], strict=True)
    ):
        raise ValueError(f"Pictures must have the shape {wanted}, the model's. Received: {some.shape[1:]}")
    ours = any(layer.name == "preprocessing" for layer in model.layers)
    if ours and some.ndim == 4 and some.dtype.kind == "f" and 0 < some.max() <= 1:
        warnings.warn(
            "The model scales pictures itself, from 0..255; these look scaled already, their largest value is "
            f"{some.max():.3g}.",
            stacklevel=2,
        )


def check_end(data: Any, steps_per_epoch: int | None) -> None:
    """Data without an end needs the length of an epoch, or its first would never be over."""
    if steps_per_epoch is None and endless(data):  # a `Stream` has an end
        raise ValueError(
            f"Endless data needs the length of an epoch; pass `steps_per_epoch`. Received: {type(data).__name__}"
        )


def _labels(data: Any) -> np.ndarray | None:
    labels = data.arrays[1] if isinstance(data, ArraySource) else getattr(data, "labels", None)
    return None if labels is None or isinstance(labels, str) else np.asarray(labels)


def check_validation(data: Any) -> None:
    """Validation data that is given must hold a sample; an empty set would choose the epoch by nothing."""
    if isinstance(data, (tuple, list)):
        empty = len(data) == 0 or (hasattr(data[0], "__len__") and len(data[0]) == 0)
    elif hasattr(data, "cardinality"):
        empty = int(data.cardinality()) == 0
    elif isinstance(data, keras.utils.PyDataset):
        empty = data.num_batches == 0
    else:
        empty = hasattr(data, "gather") and len(data) == 0
    if empty:
        raise ValueError("`validation_data` must hold at least one sample, or be left out. Received: an empty set")


def _one_hot(x: Any, y: Any) -> bool:
    """Whether the labels are one-hot rows; integer labels may come as (n,) or (n, 1)."""
    if y is None:
        if isinstance(x, (tuple, list)):
            return _one_hot(*x[:2])
        spec = getattr(x, "element_spec", None)
        look: Callable[[], Any] = (lambda: spec[1]) if spec is not None else (lambda: _first_batch(x)[1])
        y = look()
    return _rows(tuple(getattr(y, "shape", None) or np.shape(y)))


def _rows(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[1] != 1


def _first_batch(x: Any) -> Any:
    if not hasattr(x, "gather") and not hasattr(x, "__getitem__"):
        raise TypeError(f"A generator must come as a tf.data.Dataset or a PyDataset. Received: {type(x).__name__}")
    return x.gather(np.arange(1)) if hasattr(x, "gather") else x[0]
