"""From pixels to features: augmentation, preprocessing, backbone and pooling in one model."""

from pathlib import Path

import keras

from ..core.freezing import freeze
from .augmentation import LEVELS, Augmentation, augmentation_layers
from .backbone import Backbone, Shape, make_backbone, short_name
from .blocks import find_blocks  # noqa: F401  (registers how `top:N` finds them)
from .catalog import HUB
from .channels import NAME as TO_RGB
from .channels import to_rgb
from .pooling import check_pooling, pool
from .preprocessing import MODES, Preprocessing


def build_encoder(
    backbone: str | keras.Model,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: Shape | None = None,
    pooling: str | None = None,
    augmentation: str | keras.layers.Layer | None = "none",
    preprocessing: str | keras.layers.Layer | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled model from pixels 0..255, (batch, height, width, channels), to features, (batch, features).

    Its parts are named `augmentation` (left out for `"none"`), `to_rgb` (only where it is needed), `preprocessing`,
    `backbone` and `pooling`. The arguments are those of `build_classifier`.

    >>> build_encoder("mobilenet_0.25", weights=None, input_shape=(64, 64, 3)).output_shape
    (None, 256)
    """
    base, pixels, features = encode(backbone, weights, input_shape, pooling, augmentation, preprocessing)
    return frozen_if_pretrained(keras.Model(pixels, features, name=name or f"{short_name(backbone)}_encoder"), base)


def encode(
    backbone: str | keras.Model,
    weights: str | Path | None,
    input_shape: Shape | None,
    pooling: str | None,
    augmentation: str | keras.layers.Layer | None,
    preprocessing: str | keras.layers.Layer | None,
) -> tuple[Backbone, keras.KerasTensor, keras.KerasTensor]:
    """The backbone, and the graph from the pixels to the pooled features: both ends of it."""
    # first what costs nothing, so that a slip in it is not told after a download
    check_pooling(pooling)
    augment = _augmentation_part(augmentation)
    preprocess = _own_preprocessing(backbone, preprocessing)
    base = make_backbone(backbone, weights, input_shape)
    pixels = keras.Input(base.input_shape, dtype="float32", name="pixels")
    x = pixels if augment is None else augment(pixels)
    if base.model.input_shape[-1] == 3 != base.input_shape[2]:
        x = to_rgb(x)
    x = _preprocessing_part(backbone, base, preprocess)(x)
    takes = getattr(base.model, "input", None)  # some backbones of keras-hub name their one input
    x = base.model({next(iter(takes)): x} if isinstance(takes, dict) else x)
    return base, pixels, pool(x, pooling, base.class_token)


def frozen_if_pretrained(model: keras.Model, base: Backbone) -> keras.Model:
    """Freeze the backbone where it has something to lose, and with it what stands before it."""
    if not (base.pretrained and base.model.weights):
        return model
    before = [layer for layer in model.layers if layer.name == TO_RGB and layer.weights]
    return freeze(model, ["backbone", *before])


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
    if isinstance(backbone, str) and not backbone.startswith(HUB):
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


def _preprocessing_part(
    backbone: str | keras.Model, base: Backbone, own: keras.layers.Layer | None
) -> keras.layers.Layer:
    """What the backbone brings; what the user gives where it brings none."""
    brought = base.preprocessing
    if isinstance(backbone, str) and (own is None) == (brought is None):
        raise ValueError(
            f"{backbone!r} says itself how pictures are scaled for it; leave `preprocessing` out. Received: {own!r}"
            if brought is not None
            else f"{backbone!r} has no image converter that says how pictures are scaled for it; give `preprocessing`, "
            f"one of {', '.join(map(repr, MODES))} or a Keras layer. Received: preprocessing=None"
        )
    if own is not None:
        return own
    return Preprocessing(brought, name="preprocessing") if isinstance(brought, str) else brought
