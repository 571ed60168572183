"""Look inside layers: sublayers, own weights, the steps of a graph. Keras has no public names for these."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that `layer` owns directly, in the order in which it runs or made them; input layers are left out."""
    inside = layer.layers if isinstance(layer, keras.Model) else layer._layers
    return [one for one in inside if not isinstance(one, keras.layers.InputLayer)]


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights that `layer` made itself, without those of its sublayers; trainable ones first."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Those of `own_variables` that were made to be trained, frozen or not."""
    return list(layer._trainable_variables)


def walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """`layer` and all layers below it, parents first, each once."""
    seen: set[int] = set()
    stack = [layer]
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            stack.extend(reversed(sublayers(one)))


class Step(NamedTuple):
    """One call in a Functional graph: the operation, the tensors that go in and those that come out."""

    operation: Any
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    arguments: str = ""  # the call's other arguments: constants, slices


def functional(model: keras.Model) -> keras.Model | None:
    """`model` as a Functional graph over the same layers, or None where it is a subclass with a `call` of its own."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0]) if model.built else None
    return model if hasattr(model, "_nodes_by_depth") else None


def steps(graph: keras.Model) -> list[Step]:
    """The calls of a Functional graph from input to output, the inputs themselves left out."""
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [
        Step(node.operation, list(node.input_tensors), list(node.output_tensors), _other_arguments(node))
        for node in nodes
        if not node.is_input
    ]


def _other_arguments(node: Any) -> str:
    """What a call is given beside tensors: `x * 2` and `x * 3` differ in nothing else."""
    given = keras.tree.map_structure(
        lambda value: "tensor" if isinstance(value, keras.KerasTensor) else _plain(value),
        (node.arguments.args, node.arguments.kwargs),
    )
    return repr(given)


def _plain(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{keras.ops.convert_to_numpy(value).tolist()}"
    return repr(value)


def describe(layer: Any) -> Any:
    """What a layer or a graph computes, without the running numbers in names: equal for two builds of one model."""
    graph = functional(layer) if isinstance(layer, keras.Model) else None
    if graph is None:
        config = layer.get_config() if hasattr(layer, "get_config") else {}
        return type(layer).__name__, {key: value for key, value in config.items() if key != "name"}
    number = {id(tensor): index for index, tensor in enumerate(graph.inputs)}
    way = []
    for step in steps(graph):
        way.append((describe(step.operation), [number[id(tensor)] for tensor in step.inputs], step.arguments))
        number.update({id(tensor): len(number) + index for index, tensor in enumerate(step.outputs)})
    return way, [number[id(tensor)] for tensor in graph.outputs]
