"""What a classifier puts out: logits or probabilities, and the loss that fits them and the labels."""

from typing import Any

import keras

from .surgery import functional, steps, sublayers

_PROBABILITIES = ("softmax", "sigmoid")


def gives_logits(model: keras.Model) -> bool:
    """Whether the outputs of `model` are logits: the last thing it computes is no softmax or sigmoid, layer or
    operation.

    Looks through nested models to what comes last.
    """
    last = _last(model)
    if type(last).__name__.lower() in _PROBABILITIES:
        return False
    return getattr(getattr(last, "activation", None), "__name__", "linear") not in _PROBABILITIES


def _last(thing: Any) -> Any:
    """The layer or operation that makes the output: in graphs the last step, else the last layer inside."""
    graph = functional(thing) if isinstance(thing, keras.Model) else None
    if graph is not None:
        made = {id(tensor) for tensor in graph.outputs}
        return _last(next(step.operation for step in steps(graph) if made & {id(tensor) for tensor in step.outputs}))
    inside = sublayers(thing) if isinstance(thing, keras.layers.Layer) else []
    return _last(inside[-1]) if inside else thing


def classification_loss(model: keras.Model, one_hot: bool) -> keras.losses.Loss:
    """Cross-entropy for integer or one-hot labels, on logits or on probabilities as the model gives them."""
    kind = keras.losses.CategoricalCrossentropy if one_hot else keras.losses.SparseCategoricalCrossentropy
    return kind(from_logits=gives_logits(model))
