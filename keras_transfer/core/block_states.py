"""What a stage of a training does with each block of a model: frozen, fine-tuned, or trained new, and at which rate."""

from collections.abc import Sequence
from typing import Any

import keras

from .freezing import owners
from .optimizers import LayerwiseOptimizer, rows_of
from .rate_table import trainable_ever
from .selection import find
from .surgery import own_trainable_variables, own_variables, walk

FROZEN, FINE_TUNED, TRAINED = "frozen", "fine-tuned", "trained"
Block = tuple[str, list[keras.layers.Layer]]


def blocks_of(model: keras.Model) -> list[Block]:
    """The name and layers of each block with weights to train, from the pixels to the head, every layer in one.

    The blocks are those of `"top:n"`, the head is one, and a layer outside of them is its own. A block is called by
    what the names of its layers begin with, where that tells it from the others, else by its first layer.
    """
    head = {id(below) for layer in _find("head", model) for below in walk(layer)}
    blocks = [[layer for layer in block if id(layer) not in head] for block in _find("blocks", model)]
    found = [*blocks, _find("head", model)]
    known = {id(below) for block in found for layer in block for below in walk(layer)}
    order = {id(layer): place for place, (_, layer) in enumerate(owners(model))}
    found += [[layer] for _, layer in owners(model) if id(layer) not in known]
    pairs = []
    for block in found:
        layers = {id(below): below for layer in block for below in walk(layer) if own_variables(below)}
        if any(own_trainable_variables(layer) for layer in layers.values()):
            pairs.append((block, list(layers.values())))
    pairs.sort(key=lambda pair: min(order.get(id(layer), len(order)) for layer in pair[1]))
    names = [_name(block) for block, _ in pairs]
    return [
        (name if names.count(name) == 1 else block[0].name, layers)
        for name, (block, layers) in zip(names, pairs, strict=True)
    ]


def learned(model: keras.Model) -> set[int]:
    """The ids of the layers that hold something learned already: in the backbone all or none, in the head likewise.

    A layer that is new has the same number all over each of its biases, scales and statistics, one that was trained has
    not. Where a part has no such vector it counts as learned when it is frozen now: what is new is never frozen.
    """
    head = {id(below) for layer in _find("head", model) for below in walk(layer)}
    training = {id(one) for one in model.trainable_variables}
    parts: tuple[list[keras.layers.Layer], ...] = ([], [])
    for _, layer in owners(model):
        if own_trainable_variables(layer):
            parts[id(layer) in head].append(layer)
    return {id(layer) for part in parts if _is_learned(part, training) for layer in part}


def block_states(
    model: keras.Model, learned_before: set[int], rate: float | None, optimizer: Any = None
) -> list[dict[str, Any]]:
    """A row a block, from the pixels to the head: `name`, `state` ("frozen", "fine-tuned" or "trained") and
    `learning_rate`, the highest in the block under the optimizer's multipliers; None where nothing trains, or where the
    rate has no number (`rate=None`, a schedule of the user's).

    learned_before: what `learned` said before the training began.

    Example: `block_states(model, learned(model), 1e-3)[-1]` gives
    `{"name": "head", "state": "trained", "learning_rate": 0.001}`.
    """
    training = {id(one) for one in model.trainable_variables}
    multipliers = _multipliers(optimizer, model)
    rows = []
    for name, layers in blocks_of(model):
        moving = [
            (multipliers.get(id(one), 1.0), layer)
            for layer in layers
            for one in own_trainable_variables(layer)
            if id(one) in training and multipliers.get(id(one), 1.0) > 0
        ]
        old = any(id(layer) in learned_before for layer in layers)
        state = (FINE_TUNED if old else TRAINED) if moving else FROZEN
        at = max(multiplier for multiplier, _ in moving) * rate if moving and rate is not None else None
        rows.append({"name": name, "state": state, "learning_rate": at})
    return rows


def _find(kind: str, model: keras.Model) -> Sequence[Any]:
    try:
        return list(find(kind, model))
    except ValueError:  # nobody knows the model
        return []


def _name(block: Sequence[keras.layers.Layer]) -> str:
    if len(block) == 1:
        return block[0].name
    first, last = min(layer.name for layer in block), max(layer.name for layer in block)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = first[:same].rstrip("_-/. ")
    return common if len(common) > 2 else block[0].name


def _is_learned(layers: Sequence[keras.layers.Layer], training: set[int]) -> bool:
    vectors = [one for layer in layers for one in own_variables(layer) if len(one.shape) == 1 and one.shape[0] > 1]
    if not vectors:
        return any(id(one) not in training for layer in layers for one in own_trainable_variables(layer))
    return any(_differs(one) for one in vectors)


def _differs(variable: keras.Variable) -> bool:
    values = keras.ops.convert_to_numpy(variable)
    return bool((values != values[0]).any())


def _multipliers(optimizer: Any, model: keras.Model) -> dict[int, float]:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if not isinstance(optimizer, LayerwiseOptimizer):
        return {}
    variables = trainable_ever(model)
    return {id(one): row.multiplier for one, row in zip(variables, rows_of(optimizer, variables), strict=True)}
