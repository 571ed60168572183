"""From a feature map or tokens to one vector a picture, by a layer named `pooling`."""

import keras

from ..core.messages import nearest

_MAPS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}
_TOKENS = {
    "avg": keras.layers.GlobalAveragePooling1D,
    "max": keras.layers.GlobalMaxPooling1D,
    "flatten": keras.layers.Flatten,
}
POOLINGS = (*_MAPS, "token")


def check_pooling(pooling: str | None) -> None:
    """Refuse what is no pooling, before anything is built."""
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(f"Unknown pooling. {nearest(str(pooling), POOLINGS)} Received: {pooling!r}")


def pool(features: keras.KerasTensor, pooling: str | None, class_token: bool) -> keras.KerasTensor:
    """The features, (batch, features), of a map (batch, h, w, channels), of tokens (batch, n, channels), or as they are.

    None is `"avg"`, and for tokens with a class token `"token"`: the first of them, which the backbone was trained to
    read.
    """
    shape = tuple(features.shape)
    if len(shape) == 2:
        return keras.layers.Identity(name="pooling")(features)  # the features are pooled already
    if len(shape) not in (3, 4):
        raise ValueError(
            "A backbone must give a feature map (batch, height, width, channels), tokens (batch, tokens, channels) or "
            f"features (batch, features). Received: output shape {shape}"
        )
    word = pooling or ("token" if class_token and len(shape) == 3 else "avg")
    if word != "token":
        return (_MAPS if len(shape) == 4 else _TOKENS)[word](name="pooling")(features)
    if len(shape) != 3 or shape[1] is None:
        raise ValueError(
            "Pooling 'token' takes the first of a fixed number of tokens, (batch, tokens, channels); use 'avg', 'max' "
            f"or 'flatten'. Received: output shape {shape}"
        )
    first = [keras.layers.Cropping1D((0, shape[1] - 1)), keras.layers.Flatten()]
    return keras.Sequential([keras.Input(shape[1:]), *first], name="pooling")(features)
