"""Look inside layers: sublayers, own weights, the steps of a graph. Keras has no public names for these."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
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
        # What layers below keep beside their configuration, as adapters do: a scale is no weight.
        below = walk(layer) if isinstance(layer, keras.layers.Layer) else ()
        kept = [one.settings for one in below if isinstance(getattr(one, "settings", None), dict)]
        config = {**config, "settings": kept} if kept else config
        return type(layer).__name__, {key: value for key, value in config.items() if key != "name"}
    number = {id(tensor): index for index, tensor in enumerate(graph.inputs)}
    way = []
    for step in steps(graph):
        way.append((describe(step.operation), [number[id(tensor)] for tensor in step.inputs], step.arguments))
        number.update({id(tensor): len(number) + index for index, tensor in enumerate(step.outputs)})
    return way, [number[id(tensor)] for tensor in graph.outputs]


# TensorFlow's own, which it keeps itself as attributes are set; `_self_attention_layer` is none of them.
BOOKS = ("_self_unconditional_", "_self_setattr_", "_self_name_based_", "_self_update_uid", "_self_saveable_")
TRACED = ("train_function", "test_function", "predict_function", "generate_function")


def replace(roots: Iterable[keras.Model], pairs: Sequence[tuple[keras.layers.Layer, keras.layers.Layer]]) -> None:
    """Put the new layer of each pair (old, new) in the place of the old one wherever a layer below `roots` holds that.

    Attributes, lists and graphs are gone through once. The graph's tensors then say that the new layer made them, so a
    model that is built over them runs it.
    """
    holders = _holders(roots)
    swap = {id(old): new for old, new in pairs}
    found: set[int] = set()
    for holder in holders:
        found |= _replace_in(holder, pairs, swap)
    for old, new in pairs:
        if id(old) not in found:
            raise ValueError(f"The layer to replace must be in the model. Received: layer {old.name!r}")
        for node in old._inbound_nodes:
            node.operation = new
            for tensor in node.outputs:
                tensor._keras_history = tensor._keras_history._replace(operation=new)
        new._inbound_nodes, new._outbound_nodes = list(old._inbound_nodes), list(old._outbound_nodes)
        old._inbound_nodes, old._outbound_nodes = [], []


def _replace_in(holder: keras.layers.Layer, pairs: Sequence[tuple[Any, Any]], swap: dict[int, Any]) -> set[int]:
    """What of the old layers `holder` held."""
    found: set[int] = set()
    for old, new in pairs:
        if holder._tracker.is_in_store("layers", old):  # before the attributes: the tracker of a built layer is locked
            holder._tracker.replace_tracked_value("layers", old, new)
            found.add(id(old))
    for key, value in list(vars(holder).items()):
        if not key.startswith(BOOKS):
            swapped = _swapped(value, swap, found)
            if swapped is not value:
                setattr(holder, key, swapped)
            else:
                _replace_items(value, swap, found)
    return found


def _swapped(value: Any, swap: dict[int, Any], found: set[int]) -> Any:
    """The new layer for an old one, a new tuple for one that holds old ones, and a new list for TensorFlow's wrapper.

    TensorFlow saves no model in which an item of such a wrapper was replaced. Any other value is itself.
    """
    wrapped = type(value).__module__.startswith("tensorflow") and isinstance(value, list)
    if isinstance(value, tuple) or wrapped:
        inside = [_swapped(one, swap, found) for one in value]
        if all(one is before for one, before in zip(inside, value, strict=True)):
            return value
        if wrapped:
            return inside
        return type(value)(*inside) if hasattr(value, "_fields") else type(value)(inside)
    if id(value) in swap:
        found.add(id(value))
        return swap[id(value)]
    return value


def _replace_items(items: Any, swap: dict[int, Any], found: set[int]) -> None:
    """In lists and dictionaries, within each other too; Keras' own are written past their tracking, which knows already."""
    if isinstance(items, (list, dict)):
        kind: Any = list if isinstance(items, list) else dict
        for key, value in list(items.items() if isinstance(items, dict) else enumerate(items)):
            swapped = _swapped(value, swap, found)
            if swapped is value:
                _replace_items(value, swap, found)
            else:
                kind.__setitem__(items, key, swapped)


def _holders(roots: Iterable[keras.Model]) -> list[keras.layers.Layer]:
    """Every layer below `roots`, those that hang on a Functional model beside its graph and a Sequential's graph too."""
    seen: dict[int, keras.layers.Layer] = {}
    stack = list(roots)
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            stack.extend([*one._layers, *sublayers(one)])
            stack.extend([graph] if (graph := getattr(one, "_functional", None)) is not None else [])
    return list(seen.values())


def forget_traces(roots: Iterable[keras.Model]) -> None:
    """Drop what was traced: `fit`, `evaluate`, `predict` and `generate` trace anew, with the layers as they are now."""
    for one in _holders(roots):
        for name in TRACED:
            if getattr(one, name, None) is not None:
                setattr(one, name, None)


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """What `model` was compiled with, as objects; nothing where it was not."""
    return dict(model._compile_config.config) if model.compiled and hasattr(model, "_compile_config") else {}


def scoped_path(path: str) -> Any:
    """The name scope in which a weight made now gets the path `path/...`: a path of its own, which tells the layer."""
    scope = contextlib.ExitStack()
    for segment in path.split("/"):
        scope.enter_context(keras.name_scope(segment))
    return scope


def attend(
    attention: keras.layers.MultiHeadAttention,
    query: Any,
    value: Any,
    key: Any = None,
    *,
    front: tuple[Any, Any, Any],
    training: bool | None = None,
    return_attention_scores: bool = False,
    **masks: Any,
) -> Any:
    """What a MultiHeadAttention answers with more keys and values in front of the sequence's own.

    front: keys and values (length, heads, size), and which of them count, (length,), 1 or 0. `masks` are the attention's
    other arguments; they speak of the sequence.
    """
    key = value if key is None else key
    mask = attention._compute_attention_mask(query, value, **masks)
    shape = keras.ops.shape(value)
    batch, rows, columns = shape[0], keras.ops.shape(query)[1], shape[1]
    if mask is None:
        mask = keras.ops.ones((1, 1, columns), dtype="bool")
    seen = keras.ops.broadcast_to(keras.ops.cast(front[2], "bool"), (batch, rows, front[2].shape[0]))
    mask = keras.ops.concatenate(
        [seen, keras.ops.broadcast_to(keras.ops.cast(mask, "bool"), (batch, rows, columns))], -1
    )
    ahead = [keras.ops.broadcast_to(one, (batch, *one.shape)) for one in front[:2]]
    keys, values = attention._key_dense(key), attention._value_dense(value)
    keys, values = (keras.ops.concatenate([one, own], axis=1) for one, own in zip(ahead, (keys, values), strict=True))
    outputs, scores = attention._compute_attention(
        attention._query_dense(query), keys, values, mask, training, return_attention_scores
    )
    outputs = attention._output_dense(outputs)
    return (outputs, scores) if return_attention_scores else outputs
