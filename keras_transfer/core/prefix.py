"""Cut a model where its frozen part ends, so that the frozen part need not run again for the same picture."""

import inspect
from typing import Any, NamedTuple

import keras

from .surgery import Step, functional, own_trainable_variables, own_variables, steps, sublayers, walk


class Cut(NamedTuple):
    """`model(x) = suffix(prefix(augmentation(x)))`: three models over the same layers; `augmentation` may be missing."""

    augmentation: keras.Model | None
    prefix: keras.Model
    suffix: keras.Model


def split_augmentation(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Split off the random layers that act on the input before any weight: `(augmentation or None, the rest)`.

    The rest shares every weight with `model` and gives the same answer twice. A subclassed model has no graph to cut
    and comes back whole. Raises `ValueError` where other tensors pass beside the random layers.
    """
    graph = functional(model)
    if graph is None:
        return None, model
    end = _augmentation_end(steps(graph))
    if end == 0:
        return None, graph
    tensor = _only_live_tensor(graph, end)
    if tensor is None:
        raise ValueError(
            "The random layers at the model's input must be its only way in, so that they can be taken off. "
            f"Received: model {model.name!r} with another path beside them"
        )
    if tensor.shape != graph.inputs[0].shape:
        raise ValueError(
            "Random layers inside the model must keep the pictures' shape, so that they can be taken off; crop in the data. "
            f"Received: {tuple(graph.inputs[0].shape)} to {tuple(tensor.shape)}"
        )
    return _between(graph.inputs, tensor, "augmentation"), _between(tensor, graph.outputs, model.name)


def cut(model: keras.Model) -> Cut | None:
    """Cut `model` behind its last frozen layer, and behind the pooling that follows it; None where nothing is frozen.

    Everything up to the cut is frozen or without weights; Dropout inside that part counts as frozen (inference mode),
    Dropout behind the last frozen layer stays in the suffix. A nested model is cut inside.
    """
    graph = functional(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return None
    way = steps(graph)
    start = _augmentation_end(way)
    before = graph.inputs[0] if start == 0 else _only_live_tensor(graph, start)
    first_weights = _first_weights(way)
    if before is None or any(_obscure(step.operation) for step in way[start:first_weights]):
        return None
    augmentation = _between(graph.inputs, before, "augmentation") if start else None
    moving = next((i for i in range(start, len(way)) if _moves(way[i].operation)), len(way))
    try:
        inside = _cut_inside(graph, before, way, moving) if moving < len(way) else None
    except ValueError:  # the nested model is called on both sides of the cut: leave it whole
        inside = None
    if inside is not None:
        return Cut(augmentation, *inside)
    live = _live_tensors(graph)
    for end in range(_frozen_end(way, start, moving), start, -1):
        tensor = live[end]
        if tensor is not None and any(_has_weights(step.operation) for step in way[start:end]):
            try:
                prefix = keras.Model(before, tensor, name="frozen_prefix")
                return Cut(augmentation, prefix, _between(tensor, graph.outputs, "suffix"))
            except ValueError:  # a layer that is called on both sides ties them together: try to cut before it
                continue
    return None


def _cut_inside(
    graph: keras.Model, before: keras.KerasTensor, way: list[Step], index: int
) -> tuple[keras.Model, keras.Model] | None:
    """Cut inside the nested model at `index`, the first that trains, where its own beginning is frozen."""
    nested = way[index].operation
    tensor = _only_live_tensor(graph, index) if index else before
    inner = cut(nested) if isinstance(nested, keras.Model) and tensor is not None else None
    if inner is None or inner.augmentation is not None:
        return None
    prefix = keras.Model(before, inner.prefix(tensor), name="frozen_prefix")
    after = way[index].outputs[0]
    entry = keras.Input(batch_shape=inner.suffix.inputs[0].shape, dtype=inner.suffix.inputs[0].dtype)
    out = inner.suffix(entry)
    if index + 1 < len(way):
        if _only_live_tensor(graph, index + 1) is not after:
            return None
        out = _between(after, graph.outputs, "rest")(out)
    return prefix, keras.Model(entry, out, name="suffix")


def _between(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """The part of a graph between two tensors; a list of one is that one, because Keras tells them apart."""
    one = [side[0] if isinstance(side, list) and len(side) == 1 else side for side in (inputs, outputs)]
    return keras.Model(*one, name=name)


def _augmentation_end(way: list[Step]) -> int:
    """How many steps at the input belong to the augmentation: up to the last random one before any weight."""
    return max((i + 1 for i in range(_first_weights(way)) if _random(way[i].operation)), default=0)


def _first_weights(way: list[Step]) -> int:
    return next((i for i, step in enumerate(way) if _learns(step.operation)), len(way))


def _frozen_end(way: list[Step], start: int, moving: int) -> int:
    """How many steps the frozen prefix may hold: to the last frozen weight, then on until something random or moving."""
    last = max((i for i in range(start, moving) if _has_weights(way[i].operation)), default=start)
    return next((i for i in range(last + 1, moving) if _random(way[i].operation) or _obscure(way[i].operation)), moving)


def _only_live_tensor(graph: keras.Model, count: int) -> keras.KerasTensor | None:
    """The one tensor that carries everything on after the first `count` steps, or None where there are several."""
    return _live_tensors(graph)[count]


def _live_tensors(graph: keras.Model) -> list[keras.KerasTensor | None]:
    """`_only_live_tensor` for every count from 0, in one pass over the graph."""
    way = steps(graph)
    last = {id(tensor): index for index, step in enumerate(way) for tensor in step.inputs}  # the last step to need it
    last |= {id(tensor): len(way) for tensor in graph.outputs}
    live = {id(tensor): tensor for tensor in graph.inputs}
    found: list[keras.KerasTensor | None] = []
    for count in range(len(way) + 1):
        if count:
            live |= {id(tensor): tensor for tensor in way[count - 1].outputs}
        live = {key: tensor for key, tensor in live.items() if last.get(key, -1) >= count}
        found.append(next(iter(live.values())) if len(live) == 1 else None)
    return found


def _learns(operation: object) -> bool:
    """Whether it was made with weights to train, frozen or not; the statistics of a Normalization are none."""
    return isinstance(operation, keras.layers.Layer) and any(own_trainable_variables(one) for one in walk(operation))


def _has_weights(operation: object) -> bool:
    return bool(getattr(operation, "weights", None))


def _moves(operation: object) -> bool:
    """Whether training changes it: a weight that trains, or a BatchNorm whose statistics would move."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    normalisations = [one for one in _alive(operation) if isinstance(one, keras.layers.BatchNormalization)]
    return bool(operation.trainable_weights) or bool(normalisations)


def _alive(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers at and below `layer` whose own flag and every ancestor's say that they train."""
    if not layer.trainable:
        return []
    return [layer, *(one for child in sublayers(layer) for one in _alive(child))]


def _random(operation: object) -> bool:
    """Whether it draws random numbers: it, or a layer below it, holds a seed generator."""
    return isinstance(operation, keras.layers.Layer) and any(
        isinstance(held, keras.random.SeedGenerator) for one in walk(operation) for held in vars(one).values()
    )


def _obscure(operation: object) -> bool:
    """Whether a weightless layer of somebody's own asks whether it trains, so that we cannot know what it does then."""
    return isinstance(operation, keras.layers.Layer) and any(
        "training" in inspect.signature(one.call).parameters and not own_variables(one) and not sublayers(one)
        for one in walk(operation)
        if not type(one).__module__.startswith("keras.")
    )
