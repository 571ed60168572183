"""Cut inside a nested model whose layers pass masks on beside the hidden states: both travel as one array."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from .cutting import between, first_weights, frozen_end, has_weights, live_tensors, moves, obscure
from .surgery import Step, functional, steps


class Pack(keras.layers.Layer):
    """Hidden states (B, L, D) and masks (B, L) as one float32 tensor (B, L, D + masks); whole numbers stay exact."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)

    def call(self, tensors: Sequence[Any]) -> Any:
        hidden, *masks = (ops.cast(tensor, "float32") for tensor in tensors)
        return ops.concatenate([hidden, *(ops.expand_dims(mask, -1) for mask in masks)], axis=-1)


class Unpack(keras.layers.Layer):
    """What `Pack` packed, in the types that it had."""

    def __init__(self, dtypes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.dtypes = list(dtypes)

    def call(self, packed: Any) -> list[Any]:
        masks = len(self.dtypes) - 1
        hidden = packed[..., : packed.shape[-1] - masks]
        parts = [hidden, *(packed[..., packed.shape[-1] - masks + place] for place in range(masks))]
        return [ops.cast(part, dtype) for part, dtype in zip(parts, self.dtypes, strict=True)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtypes": self.dtypes}


def cut_several(
    graph: keras.Model, before: keras.KerasTensor, way: list[Step], index: int
) -> tuple[keras.Model, keras.Model] | None:
    """Cut inside the nested model at `index`, which may have several inputs and outputs, as a text encoder has.

    At the cut one tensor (B, L, D) carries what the frozen weights computed; what else is needed behind it are tensors
    (B, L) that no weight has touched, the masks. None where it is otherwise.
    """
    step = way[index]
    nested = functional(step.operation) if isinstance(step.operation, keras.Model) else None
    if nested is None or len(step.inputs) != len(nested.inputs):
        return None
    outputs = {id(tensor) for tensor in step.outputs}
    after = live_tensors(graph)[index + 1]
    beside = [tensor for tensor in after if id(tensor) not in outputs]  # passes the nested model by
    taken = [place for place, tensor in enumerate(step.outputs) if any(tensor is one for one in after)]
    halves = _halves(nested, taken)
    if halves is None or not _are_masks(beside, halves[0].outputs[0]):
        return None
    first, second = halves
    carried = [*first(list(step.inputs) if len(step.inputs) > 1 else step.inputs[0], training=False), *beside]
    packed = Pack()(carried) if len(carried) > 1 else carried[0]
    prefix = keras.Model(before, packed, name="frozen_prefix")
    entry = keras.Input(batch_shape=packed.shape, dtype=packed.dtype)
    parts = Unpack([tensor.dtype for tensor in carried])(entry) if len(carried) > 1 else [entry]
    inner = len(carried) - len(beside)
    out = second(parts[:inner])
    if index + 1 < len(way):
        given = {id(step.outputs[place]): tensor for place, tensor in zip(taken, out, strict=True)}
        given |= {id(tensor): part for tensor, part in zip(beside, parts[inner:], strict=True)}
        rest = keras.Model(after, graph.outputs, name="rest")
        out = rest([given[id(tensor)] for tensor in after])
    return prefix, between(entry, out, "suffix")


def _halves(nested: keras.Model, taken: list[int]) -> tuple[keras.Model, keras.Model] | None:
    """The frozen beginning of a nested model and what follows it, both from lists to lists: hidden states, then masks."""
    way = steps(nested)
    if any(obscure(step.operation) for step in way[: first_weights(way)]):
        return None
    moving = next((i for i in range(len(way)) if moves(way[i].operation)), len(way))
    live = live_tensors(nested)
    touched = _touched(nested, way)
    outputs = [nested.outputs[place] for place in taken]
    for end in range(frozen_end(way, 0, moving), 0, -1):
        hidden = [tensor for tensor in live[end] if id(tensor) in touched]
        masks = [tensor for tensor in live[end] if id(tensor) not in touched]
        if len(hidden) != 1 or not _are_masks(masks, hidden[0]):
            continue
        carried = [*hidden, *masks]
        try:
            return keras.Model(nested.inputs, carried), keras.Model(carried, outputs)
        except ValueError:  # a layer that is called on both sides ties them together: try to cut before it
            continue
    return None


def _touched(nested: keras.Model, way: list[Step]) -> set[int]:
    """The ids of the tensors that depend on a weight."""
    found: set[int] = set()
    for step in way:
        if has_weights(step.operation) or any(id(tensor) in found for tensor in step.inputs):
            found |= {id(tensor) for tensor in step.outputs}
    return found


def _are_masks(tensors: list[keras.KerasTensor], hidden: keras.KerasTensor) -> bool:
    """Whether each is (B, L) beside hidden states (B, L, D)."""
    return not tensors or (
        len(hidden.shape) == 3 and all(tuple(one.shape) == tuple(hidden.shape[:2]) for one in tensors)
    )
