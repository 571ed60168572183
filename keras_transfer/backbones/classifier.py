"""From pixels to logits: the encoder with a head."""

from collections.abc import Sequence
from pathlib import Path

import keras

from .backbone import Shape, short_name
from .encoder import encode, frozen_if_pretrained
from .head import check_head, dense_head, own_head

DROPOUT = 0.2


def build_classifier(
    backbone: str | keras.Model,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: Shape | None = None,
    pooling: str | None = None,
    augmentation: str | keras.layers.Layer | None = "light",
    preprocessing: str | keras.layers.Layer | None = None,
    hidden: int | Sequence[int] = (),
    dropout: float | None = None,
    head: keras.layers.Layer | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled classifier: pixels 0..255, (batch, height, width, channels), to logits, (batch, num_classes).

    Its parts are named `augmentation` (left out for `"none"`), `to_rgb` (only where the backbone takes RGB and the
    pictures are something else), `preprocessing`, `backbone`, `pooling` and `head`, which holds `hidden_1`, ...,
    `dropout` and `logits`. Compile it with a loss `from_logits=True`.

    - `backbone`: a name of the catalogue (`kt.backbones.table()`; a number is the width), `"hub:..."` with a preset of
      keras-hub or a folder that holds one, or a model of your own that turns pictures into a feature map, tokens or
      features. Its layers are shared, not copied, so freezing it here freezes it there.
    - `num_classes`: at least 2; a yes/no task has two classes.
    - `weights`: `"imagenet"` downloads, for a preset its own weights; a path loads that `.h5` file exactly or raises;
      None starts at random. A model of your own counts as pretrained as it comes; None says that it is not, and leaves
      its weights as they are.
    - `input_shape`: by default the size that the weights were made for, in colour, or that of your model. With one
      channel and weights made for colour, `to_rgb` repeats the grey picture; with four it is a 1 x 1 projection that
      starts by passing RGB and ignoring the fourth. `feature_extraction` keeps it frozen, `full` trains it.
    - `pooling`: `"avg"`, `"max"`, `"flatten"`, or for tokens also `"token"`, the first of them; by default that of a
      Vision Transformer's class token, else `"avg"`. Features that are pooled already stay as they are.
    - `augmentation`: `"none"`, `"light"`, `"medium"`, `"strong"`, or a layer of yours on pixels; runs in training only.
    - `preprocessing`: for a model of your own, what it does not do inside: a mode of `Preprocessing` or a layer.
    - `hidden`: units of ReLU layers before the logits. `dropout`: the share dropped before the logits, in [0, 1), by
      default 0.2.
    - `head`: in their place a layer or model of yours from the pooled features to logits, (batch, num_classes).

    A pretrained backbone starts frozen, one without pretrained weights starts trainable. Raises `ValueError` or
    `TypeError` naming what was expected.

    >>> model = build_classifier("mobilenet_0.25", 3, weights=None, input_shape=(64, 64, 3))
    >>> [layer.name for layer in model.layers]
    ['pixels', 'augmentation', 'preprocessing', 'backbone', 'pooling', 'head']
    """
    units = check_head(num_classes, hidden, dropout, head)
    base, pixels, features = encode(backbone, weights, input_shape, pooling, augmentation, preprocessing)
    if head is None:
        logits = dense_head(features, num_classes, units, DROPOUT if dropout is None else dropout)
    else:
        logits = own_head(features, num_classes, head)
    model = keras.Model(pixels, logits, name=name or f"{short_name(backbone)}_classifier")
    return frozen_if_pretrained(model, base)
