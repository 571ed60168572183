"""What a classifier puts out: logits or probabilities, and the loss that fits them and the labels."""

from typing import Any

import keras

from .surgery import sublayers

_PROBABILITIES = ("softmax", "sigmoid")


def gives_logits(model: keras.Model) -> bool:
    """Whether the outputs of `model` are logits: its last layer is linear, neither Softmax nor a softmax activation.

    Looks through nested models to the last layer that computes something.
    """
    layer: Any = model
    while inside := sublayers(layer):
        layer = inside[-1]
    if isinstance(layer, keras.layers.Softmax):
        return False
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", "linear") not in _PROBABILITIES


def classification_loss(model: keras.Model, one_hot: bool) -> keras.losses.Loss:
    """Cross-entropy for integer or one-hot labels, on logits or on probabilities as the model gives them."""
    kind = keras.losses.CategoricalCrossentropy if one_hot else keras.losses.SparseCategoricalCrossentropy
    return kind(from_logits=gives_logits(model))
