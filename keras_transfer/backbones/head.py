"""The part called `head`: hidden layers, Dropout and the logits, or what the user brings."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import keras

from ..core.outputs import gives_logits


def check_head(
    num_classes: int, hidden: int | Sequence[int], dropout: float | None, head: keras.layers.Layer | None
) -> tuple[int, ...]:
    """The hidden units as a tuple, once all that shapes the head is sound."""
    if not _whole(num_classes) or num_classes < 2:
        raise ValueError(
            "`num_classes` must be a whole number of at least 2 (a yes/no task has two classes). "
            f"Received: {num_classes!r}"
        )
    units = (hidden,) if isinstance(hidden, int) else hidden
    if not isinstance(units, (tuple, list)) or not all(_whole(n) and n > 0 for n in units):
        raise ValueError(f"`hidden` must be a positive whole number of units, or several. Received: {hidden!r}")
    if dropout is not None and (isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0.0 <= dropout < 1.0):
        raise ValueError(f"`dropout` must be a share in [0, 1). Received: {dropout!r}")
    if head is None:
        return tuple(int(n) for n in units)
    if not isinstance(head, keras.layers.Layer):
        raise TypeError(f"`head` must be a Keras layer or model, or None. Received: {head!r}")
    if units or dropout is not None:
        raise ValueError(
            "A `head` of your own brings its layers itself; leave `hidden` and `dropout` out. "
            f"Received: hidden={hidden!r}, dropout={dropout!r}"
        )
    return ()


def dense_head(features: keras.KerasTensor, num_classes: int, units: tuple[int, ...], dropout: float) -> Any:
    """The logits of ReLU layers `hidden_1`, ..., then `dropout` and `logits`."""
    layers = [keras.Input(features.shape[1:], name="features")]
    layers += [keras.layers.Dense(n, activation="relu", name=f"hidden_{i}") for i, n in enumerate(units, 1)]
    layers.append(keras.layers.Dropout(dropout, name="dropout"))
    # float32, so that mixed precision does not round the logits
    layers.append(keras.layers.Dense(int(num_classes), dtype="float32", name="logits"))
    return keras.Sequential(layers, name="head")(features)


def own_head(features: keras.KerasTensor, num_classes: int, head: keras.layers.Layer) -> Any:
    """The logits of the user's layer or model, named `head`; refused where they are not (batch, num_classes)."""
    if head.name != "head":
        head = keras.Sequential([keras.Input(features.shape[1:], name="features"), head], name="head")
    logits = head(features)
    shape = tuple(logits.shape) if isinstance(logits, keras.KerasTensor) else "several tensors"
    if shape != (None, num_classes):
        raise ValueError(
            f"`head` must turn features {tuple(features.shape)} into logits {(None, int(num_classes))}. "
            f"Received: a head that gives {shape}"
        )
    if not gives_logits(head):
        raise ValueError(
            "`head` must give logits; leave the softmax or sigmoid at its end out. Received: a head that gives "
            "probabilities"
        )
    return logits


def _whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
