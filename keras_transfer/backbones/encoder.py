"""From pixels to features: augmentation, preprocessing, backbone and pooling in one model."""

from pathlib import Path

import keras

from ..core.freezing import freeze
from ..core.messages import nearest
from .augmentation import LEVELS, Augmentation, augmentation_layers
from .backbone import Backbone, Shape, make_backbone
from .blocks import find_blocks  # noqa: F401  (registers how `top:N` finds them)
from .preprocessing import MODES, Preprocessing

_POOLINGS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}


def build_encoder(
    backbone: str | keras.Model,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: Shape | None = None,
    pooling: str = "avg",
    augmentation: str | keras.layers.Layer | None = "none",
    preprocessing: str | keras.layers.Layer | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled model from pixels 0..255, (batch, height, width, channels), to features, (batch, features).

    Its parts are named `augmentation` (left out for `"none"`), `preprocessing`, `backbone` and `pooling`. The arguments
    are those of `build_classifier`.

    >>> build_encoder("mobilenet_0.25", weights=None, input_shape=(64, 64, 3)).output_shape
    (None, 256)
    """
    base, pixels, features = encode(backbone, weights, input_shape, pooling, augmentation, preprocessing)
    word = backbone if isinstance(backbone, str) else backbone.name
    return frozen_if_pretrained(keras.Model(pixels, features, name=name or f"{word}_encoder"), base)


def encode(
    backbone: str | keras.Model,
    weights: str | Path | None,
    input_shape: Shape | None,
    pooling: str,
    augmentation: str | keras.layers.Layer | None,
    preprocessing: str | keras.layers.Layer | None,
) -> tuple[Backbone, keras.KerasTensor, keras.KerasTensor]:
    """The backbone, and the graph from the pixels to the pooled features: both ends of it."""
    # first what costs nothing, so that a slip in it is not told after a download
    pool, augment = _pooling_layer(pooling), _augmentation_part(augmentation)
    preprocess = _own_preprocessing(backbone, preprocessing)
    base = make_backbone(backbone, weights, input_shape)
    pixels = keras.Input(base.input_shape, dtype="float32", name="pixels")
    x = pixels if augment is None else augment(pixels)
    x = base.model((preprocess or Preprocessing(base.preprocessing, name="preprocessing"))(x))
    rank = len(x.shape)
    if rank == 2:
        pool = keras.layers.Identity(name="pooling")  # the features are pooled already
    elif rank != 4:
        raise ValueError(
            "A backbone must give a feature map (batch, height, width, channels) or features (batch, features). "
            f"Received: output shape {tuple(x.shape)}"
        )
    return base, pixels, pool(x)


def frozen_if_pretrained(model: keras.Model, base: Backbone) -> keras.Model:
    """Freeze the backbone where it has something to lose."""
    return freeze(model, "backbone") if base.pretrained and base.model.weights else model


def _pooling_layer(pooling: str) -> keras.layers.Layer:
    if pooling not in tuple(_POOLINGS):
        raise ValueError(f"Unknown pooling. {nearest(str(pooling), _POOLINGS)} Received: {pooling!r}")
    return _POOLINGS[pooling](name="pooling")


def _augmentation_part(augmentation: str | keras.layers.Layer | None) -> keras.layers.Layer | None:
    if augmentation is None:
        return None
    if isinstance(augmentation, str):
        return augmentation_layers(augmentation)
    if not isinstance(augmentation, keras.layers.Layer):
        levels = ", ".join(map(repr, LEVELS))
        raise TypeError(f"`augmentation` must be one of {levels}, a Keras layer or None. Received: {augmentation!r}")
    if isinstance(augmentation, Augmentation) and augmentation.name == "augmentation":
        return augmentation
    return Augmentation([augmentation], name="augmentation")


def _own_preprocessing(
    backbone: str | keras.Model, preprocessing: str | keras.layers.Layer | None
) -> keras.layers.Layer | None:
    """The part that a user's own model asks for; None where the backbone decides."""
    if preprocessing is None:
        return None
    if isinstance(backbone, str):
        raise ValueError(
            f"{backbone!r} brings its own preprocessing; leave the argument out. "
            f"Received: preprocessing={preprocessing!r}"
        )
    if isinstance(preprocessing, str):
        return Preprocessing(preprocessing, name="preprocessing")
    if not isinstance(preprocessing, keras.layers.Layer):
        modes = ", ".join(map(repr, MODES))
        raise TypeError(f"`preprocessing` must be one of {modes}, or a Keras layer. Received: {preprocessing!r}")
    if preprocessing.name == "preprocessing":
        return preprocessing
    return keras.Sequential([preprocessing], name="preprocessing")
