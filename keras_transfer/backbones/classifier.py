"""From pixels to logits: the encoder with a head."""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path

import keras

from .backbone import Shape
from .encoder import encode, frozen_if_pretrained


def build_classifier(
    backbone: str | keras.Model,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: Shape | None = None,
    pooling: str = "avg",
    augmentation: str | keras.layers.Layer | None = "light",
    preprocessing: str | keras.layers.Layer | None = None,
    hidden: int | Sequence[int] = (),
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled classifier: pixels 0..255, (batch, height, width, channels), to logits, (batch, num_classes).

    Its parts are named `augmentation` (left out for `"none"`), `preprocessing`, `backbone`, `pooling` and `head`, which
    holds `hidden_1`, ..., `dropout` and `logits`. Compile it with a loss `from_logits=True`.

    - `backbone`: a name of the catalogue (`"mobilenet_v2"`, `"mobilenet_0.25"`, ...; a number is the width), or a model
      of your own that turns pictures into a feature map or features. Its layers are shared, not copied, so freezing it
      here freezes it there.
    - `num_classes`: at least 2; a yes/no task has two classes.
    - `weights`: `"imagenet"` downloads; a path loads that `.h5` file exactly or raises; None starts at random. A model
      of your own counts as pretrained as it comes; None says that it is not, and leaves its weights as they are.
    - `input_shape`: by default the size that the weights were made for, in colour, or that of your model.
    - `pooling`: `"avg"`, `"max"` or `"flatten"`; features that are pooled already stay as they are.
    - `augmentation`: `"none"`, `"light"`, `"medium"`, `"strong"`, or a layer of yours on pixels; runs in training only.
    - `preprocessing`: for a model of your own, what it does not do inside: a mode of `Preprocessing` or a layer.
    - `hidden`: units of ReLU layers before the logits. `dropout`: the share dropped before the logits, in [0, 1).

    A pretrained backbone starts frozen, one without pretrained weights starts trainable. Raises `ValueError` or
    `TypeError` naming what was expected.

    >>> model = build_classifier("mobilenet_0.25", 3, weights=None, input_shape=(64, 64, 3))
    >>> [layer.name for layer in model.layers]
    ['pixels', 'augmentation', 'preprocessing', 'backbone', 'pooling', 'head']
    """
    units = _check_head(num_classes, hidden, dropout)
    base, pixels, features = encode(backbone, weights, input_shape, pooling, augmentation, preprocessing)
    layers = [keras.Input(features.shape[1:], name="features")]
    layers += [keras.layers.Dense(n, activation="relu", name=f"hidden_{i}") for i, n in enumerate(units, 1)]
    layers.append(keras.layers.Dropout(dropout, name="dropout"))
    # float32, so that mixed precision does not round the logits
    layers.append(keras.layers.Dense(int(num_classes), dtype="float32", name="logits"))
    head = keras.Sequential(layers, name="head")
    word = backbone if isinstance(backbone, str) else backbone.name
    return frozen_if_pretrained(keras.Model(pixels, head(features), name=name or f"{word}_classifier"), base)


def _check_head(num_classes: int, hidden: int | Sequence[int], dropout: float) -> tuple[int, ...]:
    """The hidden units as a tuple, once all that shapes the head is sound."""
    if not _whole(num_classes) or num_classes < 2:
        raise ValueError(
            "`num_classes` must be a whole number of at least 2 (a yes/no task has two classes). "
            f"Received: {num_classes!r}"
        )
    units = (hidden,) if isinstance(hidden, int) else hidden
    if not isinstance(units, (tuple, list)) or not all(_whole(n) and n > 0 for n in units):
        raise ValueError(f"`hidden` must be a positive whole number of units, or several. Received: {hidden!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0.0 <= dropout < 1.0:
        raise ValueError(f"`dropout` must be a share in [0, 1). Received: {dropout!r}")
    return tuple(int(n) for n in units)


def _whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
