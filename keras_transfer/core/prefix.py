"""Cut a model where its frozen part ends, so that the frozen part need not run again for the same picture."""

from typing import NamedTuple

import keras

from .cutting import (
    augmentation_end,
    between,
    first_weights,
    frozen_end,
    has_weights,
    live_tensors,
    moves,
    obscure,
    only,
    only_live_tensor,
)
from .packing import cut_several
from .surgery import Step, functional, steps


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
    end = augmentation_end(steps(graph))
    if end == 0:
        return None, graph
    tensor = only_live_tensor(graph, end)
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
    return between(graph.inputs, tensor, "augmentation"), between(tensor, graph.outputs, model.name)


def cut(model: keras.Model) -> Cut | None:
    """Cut `model` behind its last frozen layer, and behind the pooling that follows it; None where nothing is frozen.

    Everything up to the cut is frozen or without weights; Dropout inside that part counts as frozen (inference mode),
    Dropout behind the last frozen layer stays in the suffix. A nested model is cut inside.
    """
    graph = functional(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return None
    way = steps(graph)
    start = augmentation_end(way)
    before = graph.inputs[0] if start == 0 else only_live_tensor(graph, start)
    if before is None or any(obscure(step.operation) for step in way[start : first_weights(way)]):
        return None
    augmentation = between(graph.inputs, before, "augmentation") if start else None
    moving = next((i for i in range(start, len(way)) if moves(way[i].operation)), len(way))
    try:
        inside = _cut_inside(graph, before, way, moving) if moving < len(way) else None
    except ValueError:  # the nested model is called on both sides of the cut: leave it whole
        inside = None
    if inside is not None:
        return Cut(augmentation, *inside)
    live = live_tensors(graph)
    for end in range(frozen_end(way, start, moving), start, -1):
        tensor = only(live[end])
        if tensor is not None and any(has_weights(step.operation) for step in way[start:end]):
            try:
                prefix = keras.Model(before, tensor, name="frozen_prefix")
                return Cut(augmentation, prefix, between(tensor, graph.outputs, "suffix"))
            except ValueError:  # a layer that is called on both sides ties them together: try to cut before it
                continue
    return None


def _cut_inside(
    graph: keras.Model, before: keras.KerasTensor, way: list[Step], index: int
) -> tuple[keras.Model, keras.Model] | None:
    """Cut inside the nested model at `index`, the first that trains, where its own beginning is frozen."""
    nested = way[index].operation
    tensor = only_live_tensor(graph, index) if index else before
    inner = cut(nested) if isinstance(nested, keras.Model) and tensor is not None else None
    if inner is None:
        return cut_several(graph, before, way, index)
    if inner.augmentation is not None:
        return None
    prefix = keras.Model(before, inner.prefix(tensor), name="frozen_prefix")
    after = way[index].outputs[0]
    entry = keras.Input(batch_shape=inner.suffix.inputs[0].shape, dtype=inner.suffix.inputs[0].dtype)
    out = inner.suffix(entry)
    if index + 1 < len(way):
        if only_live_tensor(graph, index + 1) is not after:
            return None
        out = between(after, graph.outputs, "rest")(out)
    return prefix, keras.Model(entry, out, name="suffix")
