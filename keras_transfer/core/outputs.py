"""What a classifier puts out: logits or probabilities, and the loss that fits them and the labels."""

from collections.abc import Sequence
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
    """The layer or operation that decides about the output: what changes no number is passed by, backwards."""
    graph = functional(thing) if isinstance(thing, keras.Model) else None
    if graph is None:
        inside = sublayers(thing) if isinstance(thing, keras.layers.Layer) else []
        return _last(inside[-1]) if inside else thing
    maker = {id(tensor): step for step in steps(graph) for tensor in step.outputs}
    step = maker[id(graph.outputs[0])]
    while _passes_on(step.operation) and id(step.inputs[0]) in maker:
        step = maker[id(step.inputs[0])]
    return _last(step.operation)


def _passes_on(operation: Any) -> bool:
    layers = keras.layers
    if isinstance(operation, layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, (layers.Identity, layers.Dropout, layers.Flatten, layers.Reshape))


def classification_loss(model: keras.Model, one_hot: bool) -> keras.losses.Loss:
    """Cross-entropy for integer or one-hot labels, on logits or on probabilities as the model gives them."""
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple):
        raise ValueError(
            f"A model that does not say what it puts out needs its `loss`; pass one. Received: {type(model).__name__} {model.name!r}"
        )
    if shape[-1] == 1:
        raise ValueError("A classifier must have an output for each class; a yes/no task has two. Received: one output")
    kind = keras.losses.CategoricalCrossentropy if one_hot else keras.losses.SparseCategoricalCrossentropy
    return kind(from_logits=gives_logits(model))


def loss_for_rows(loss: Any) -> Any:
    """The loss that says of labels as rows what `loss` says of integers; one that takes rows is itself."""
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        config = loss.get_config()
        if config.get("ignore_class") is not None:
            raise ValueError(
                f"A loss for rows ignores no class; leave it out of the data. Received: ignore_class={config['ignore_class']}"
            )
        kept = {name: config[name] for name in ("name", "reduction", "from_logits", "axis") if name in config}
        return keras.losses.CategoricalCrossentropy(**kept)
    return "categorical_crossentropy" if loss == "sparse_categorical_crossentropy" else loss


def refuse_sparse(metrics: Sequence[Any]) -> None:
    """A metric for integer labels would be wrong on rows, and not always say so."""
    for one in metrics:
        word = one if isinstance(one, str) else type(one).__name__
        if word.lower().startswith("sparse"):
            raise ValueError(
                f"With `mix` labels are rows of shares; take 'accuracy' or a metric for one-hot labels. Received: {word!r}"
            )
