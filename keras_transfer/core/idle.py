"""Layers that have no part in the output, such as BERT's pooler where the tokens are averaged: they cannot learn."""

import keras

from .surgery import functional, steps, walk


def idle_layers(model: keras.Model) -> set[int]:
    """The ids of the layers inside nested models from which nothing reaches the output of `model`, with all below them.

    A layer with a switch says itself that it is `idle`: an adapter that is off. Training one would change nothing but by
    weight decay, and Keras would warn that it has no gradient.
    """
    off = {id(one) for one in walk(model) if getattr(one, "idle", False) is True}
    graph = functional(model)
    if graph is None:
        return off
    used: dict[int, keras.layers.Layer] = {}
    seen: dict[int, keras.layers.Layer] = {}
    _follow(graph, {id(tensor) for tensor in graph.outputs}, used, seen)
    kept = {id(below) for layer in used.values() for below in walk(layer) if functional_part(layer) is None}
    unused = {id(below) for key, layer in seen.items() if key not in used for below in walk(layer)}
    return (unused - kept - set(used)) | off


def functional_part(layer: object) -> keras.Model | None:
    """A nested model as a graph; None for a layer, or a model with a `call` of its own."""
    return functional(layer) if isinstance(layer, keras.Model) else None


def _follow(
    graph: keras.Model, wanted: set[int], used: dict[int, keras.layers.Layer], seen: dict[int, keras.layers.Layer]
) -> None:
    """Note every layer of the graph as seen, and as used those from which a wanted tensor is computed."""
    for step in reversed(steps(graph)):
        if not isinstance(step.operation, keras.layers.Layer):
            wanted = wanted | ({id(one) for one in step.inputs} if wanted & set(map(id, step.outputs)) else set())
            continue
        seen[id(step.operation)] = step.operation
        inner = functional_part(step.operation)
        places = [place for place, tensor in enumerate(step.outputs) if id(tensor) in wanted]
        if places:
            used[id(step.operation)] = step.operation
            wanted = wanted | {id(one) for one in step.inputs}
        if inner is not None:
            of_inner = {id(inner.outputs[place]) for place in places if place < len(inner.outputs)}
            _follow(inner, of_inner, used, seen)
