"""Which layers a method stands around: query and value by architecture, or what `where` names, as in HF PEFT."""

from typing import Any

import keras

from ..core.messages import nearest
from ..core.selection import NamedLayer, Where, find, named_layers, select
from ..core.surgery import own_variables, walk
from .wrapper import Adapter, Injection

# The layers of an attention that HF PEFT adapts by default, under the names that Keras and keras-hub give them; an
# attention that keeps all three in one layer is adapted whole.
QUERY_AND_VALUE: tuple[str, ...] = (
    "query",
    "value",
    "query_dense",
    "value_dense",
    "query_projector",
    "value_projector",
)
QUERY_AND_VALUE += ("q_proj", "v_proj", "query_projection", "value_projection")
FUSED = ("qkv", "attention_qkv", "query_key_value", "c_attn")

# What HF PEFT calls them, by the names that they have here.
ALIASES = {
    "query": ("query", "query_dense", "q_proj", "query_projector", "query_projection"),
    "key": ("key", "key_dense", "k_proj", "key_projector", "key_projection"),
    "value": ("value", "value_dense", "v_proj", "value_projector", "value_projection"),
    "output": ("attention_output", "attention_output_dense", "output_dense", "o_proj", "out_proj"),
    "gate": ("feedforward_gate_dense",),
    "up": ("feedforward_intermediate_dense", "feedforward_gating"),
    "down": ("feedforward_output_dense", "feedforward_linear"),
}
WORDS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output", "out_proj": "output"}
WORDS |= {"q_lin": "query", "k_lin": "key", "v_lin": "value", "out_lin": "output"}
WORDS |= {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
WORDS |= {"query": "query", "key": "key", "value": "value"}


def find_targets(
    model: keras.Model, method: type, where: Where = None, settings: dict[str, Any] | None = None
) -> list[NamedLayer]:
    """The layers below `model` that `method` is to stand around, in the order of `named_layers`.

    `where=None` is the method's own choice, or query and value of every attention; else a `where` of the project, in which
    the names of HF PEFT (`"q_proj"`, `"value"`) find the layers of the same part under their names here. Raises
    `ValueError`, with the nearest paths, where nothing is found.
    """
    where = method.where_in(model, settings or {}) if where is None else where  # type: ignore[attr-defined]
    if where is None:
        found = _query_and_value(model, method)
        if not found:
            raise ValueError(
                "No attention with a query and a value that we know is in the model; say which layers in `where`, "
                "'all-linear' for every Dense, 'backbone' or a class for what is convolutional. "
                f"{_hint(model, method)} Received: model {model.name!r}, where=None"
            )
        return found
    items = list(where) if isinstance(where, (list, tuple, set, frozenset)) else [where]
    chosen: dict[int, NamedLayer] = {}
    for item in items or [where]:
        found = _of_item(model, method, item)
        if not found:
            raise ValueError(
                f"The method handles no layer that `where` names. {_hint(model, method)} Received: where={item!r}"
            )
        chosen |= {id(one.layer): one for one in found}
    return [one for one in named_layers(model) if id(one.layer) in chosen]


def _of_item(model: keras.Model, method: type, item: Any) -> list[NamedLayer]:
    if isinstance(item, str) and item in WORDS:
        named = [one for one in named_layers(model) if one.layer.name in (item, *ALIASES[WORDS[item]])]
        handled = _handled(named, method)
        if handled:
            return handled
    return _handled(select(model, item), method)


def _query_and_value(model: keras.Model, method: type) -> list[NamedLayer]:
    """Layers of those names inside a layer that is an attention, by its class' name."""
    layers = dict((path, layer) for path, layer in named_layers(model))
    parents = {path: layers.get(path.rpartition("/")[0]) for path in layers}
    named = [one for one in named_layers(model) if one.layer.name in (*QUERY_AND_VALUE, *FUSED)]
    inside = [one for one in named if "attention" in type(_past(parents, one.path)).__name__.lower()]
    return _handled(inside, method)


def _past(parents: dict[str, Any], path: str) -> Any:
    """The layer that owns the one at `path`, injections around it left out."""
    while isinstance(parents.get(path), Injection):
        path = path.rpartition("/")[0]
    return parents.get(path)


def _handled(named: list[NamedLayer], method: type) -> list[NamedLayer]:
    """Those that the method handles: layers of the base, never an injection around one."""
    plain = [one for one in named if not isinstance(one.layer, (Injection, Adapter))]
    return [one for one in plain if method.handles(one.layer)]  # type: ignore[attr-defined]


def _hint(model: keras.Model, method: type) -> str:
    """The names of what could be adapted."""
    names = dict.fromkeys(one.layer.name for one in _handled(named_layers(model), method))
    return nearest("", names)


def head_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers with weights of the task's head: of a keras-hub task what is not its backbone, else the `head`.

    A bare keras-hub backbone and an encoder have none.
    """
    layers = model.layers
    backbone = next((one for one in layers if one is getattr(model, "backbone", None)), None)
    if backbone is not None:
        head = [one for one in layers if one is not backbone]
    elif any(one.__name__ == "Backbone" for one in type(getattr(model, "base", model)).__mro__):
        return []
    else:
        try:
            head = list(find("head", model))
        except ValueError:
            return []
    inside = {id(one) for one in walk(backbone)} if backbone is not None else set()
    below = [one for layer in head for one in walk(layer) if own_variables(one)]
    return [one for one in dict.fromkeys(below) if id(one) not in inside and not isinstance(one, Adapter)]
