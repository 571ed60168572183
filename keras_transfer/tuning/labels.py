"""What the labels of a data set say: which loss suits them, and that there is something to tell apart."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ..core.outputs import classification_loss
from ..core.source import ArraySource


def loss_for(model: keras.Model, x: Any, y: Any = None) -> keras.losses.Loss:
    """The cross-entropy that suits the labels (integers or one-hot rows) and the outputs (logits or probabilities)."""
    return classification_loss(model, _one_hot(x, y))


def check_classes(data: Any) -> None:
    """Labels that are there as an array must hold two classes: with one there is nothing to learn."""
    labels = data.arrays[1] if isinstance(data, ArraySource) else getattr(data, "labels", None)
    if labels is None:
        return
    labels = np.asarray(labels)
    rows = labels.reshape(len(labels), -1)
    if rows.shape[1] == 1 and np.issubdtype(rows.dtype, np.integer) and len(rows) > 1 and (rows == rows[0]).all():
        raise ValueError(f"The labels must hold at least two classes. Received: {rows[0].item()!r} in every sample")


def _one_hot(x: Any, y: Any) -> bool:
    """Whether the labels are one-hot rows; integer labels may come as (n,) or (n, 1)."""
    if y is None:
        if isinstance(x, (tuple, list)):
            return _one_hot(*x[:2])
        spec = getattr(x, "element_spec", None)
        look: Callable[[], Any] = (lambda: spec[1]) if spec is not None else (lambda: _first_batch(x)[1])
        y = look()
    shape = tuple(getattr(y, "shape", None) or np.shape(y))
    return len(shape) == 2 and shape[1] != 1


def _first_batch(x: Any) -> Any:
    if not hasattr(x, "gather") and not hasattr(x, "__getitem__"):
        raise TypeError(f"A generator must come as a tf.data.Dataset or a PyDataset. Received: {type(x).__name__}")
    return x.gather(np.arange(1)) if hasattr(x, "gather") else x[0]
