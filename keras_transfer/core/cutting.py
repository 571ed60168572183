"""What a cut through a model asks of its graph: what learns, moves or is random, and what carries everything on."""

import inspect
from typing import Any

import keras

from .surgery import Step, own_trainable_variables, own_variables, steps, sublayers, walk


def between(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """The part of a graph between two tensors; a list of one is that one, because Keras tells them apart."""
    one = [side[0] if isinstance(side, list) and len(side) == 1 else side for side in (inputs, outputs)]
    return keras.Model(*one, name=name)


def augmentation_end(way: list[Step]) -> int:
    """How many steps at the input belong to the augmentation: up to the last random one before any weight."""
    return max((i + 1 for i in range(first_weights(way)) if random(way[i].operation)), default=0)


def first_weights(way: list[Step]) -> int:
    """How many steps come before the first with weights that were made to be trained."""
    return next((i for i, step in enumerate(way) if learns(step.operation)), len(way))


def frozen_end(way: list[Step], start: int, moving: int) -> int:
    """How many steps the frozen prefix may hold: to the last frozen weight, then on until something random or moving."""
    last = max((i for i in range(start, moving) if has_weights(way[i].operation)), default=start)
    return next((i for i in range(last + 1, moving) if random(way[i].operation) or obscure(way[i].operation)), moving)


def only_live_tensor(graph: keras.Model, count: int) -> keras.KerasTensor | None:
    """The one tensor that carries everything on after the first `count` steps, or None where there are several."""
    return only(live_tensors(graph)[count])


def only(tensors: list[keras.KerasTensor]) -> keras.KerasTensor | None:
    """The tensor of a list of one; None of any other."""
    return tensors[0] if len(tensors) == 1 else None


def live_tensors(graph: keras.Model) -> list[list[keras.KerasTensor]]:
    """The tensors that later steps or the outputs still need, for every count of steps from 0, in one pass."""
    way = steps(graph)
    last = {id(tensor): index for index, step in enumerate(way) for tensor in step.inputs}  # the last step to need it
    last |= {id(tensor): len(way) for tensor in graph.outputs}
    live = {id(tensor): tensor for tensor in graph.inputs}
    found: list[list[keras.KerasTensor]] = []
    for count in range(len(way) + 1):
        if count:
            live |= {id(tensor): tensor for tensor in way[count - 1].outputs}
        live = {key: tensor for key, tensor in live.items() if last.get(key, -1) >= count}
        found.append(list(live.values()))
    return found


def learns(operation: object) -> bool:
    """Whether it was made with weights to train, frozen or not; the statistics of a Normalization are none."""
    return isinstance(operation, keras.layers.Layer) and any(own_trainable_variables(one) for one in walk(operation))


def has_weights(operation: object) -> bool:
    """Whether it holds any weight."""
    return bool(getattr(operation, "weights", None))


def moves(operation: object) -> bool:
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


def random(operation: object) -> bool:
    """Whether it draws random numbers: it, or a layer below it, holds a seed generator."""
    return isinstance(operation, keras.layers.Layer) and any(
        isinstance(held, keras.random.SeedGenerator) for one in walk(operation) for held in vars(one).values()
    )


def obscure(operation: object) -> bool:
    """Whether a weightless layer of somebody's own asks whether it trains, so that we cannot know what it does then."""
    return isinstance(operation, keras.layers.Layer) and any(
        "training" in inspect.signature(one.call).parameters and not own_variables(one) and not sublayers(one)
        for one in walk(operation)
        if not type(one).__module__.startswith("keras.")
    )
