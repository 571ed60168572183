"""Freeze and unfreeze layers, keep the plan of it, and report what trains."""

import html
import math
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from .idle import idle_layers
from .selection import NamedLayer, Where, named_layers, select
from .surgery import own_trainable_variables, own_variables, sublayers, walk

Model = TypeVar("Model", bound=keras.Model)
PLAN_FORMAT = 1


def freeze(model: Model, where: Where = None) -> Model:
    """Freeze the layers that `where` names (all by default): their weights stay, BatchNorm there runs in inference
    mode.

    In a plain `fit` Keras runs a frozen Dropout as it always does; in our own fits the whole frozen prefix is in
    inference mode. Works in place, before `compile` (or compile again), and returns the model.

    Example: `kt.freeze(model, "backbone")`
    """
    chosen = {id(layer) for _, layer in (named_layers(model) if where is None else select(model, where))}
    state = _state(model)
    _apply(model, {key: on and key not in chosen for key, on in state.items()})
    return model


def unfreeze(model: Model, where: Where = None, batch_norm: str = "freeze") -> Model:
    """Let the layers that `where` names (all by default) train; a frozen BatchNorm stays frozen unless asked otherwise.

    `batch_norm="freeze"` leaves every BatchNorm as it is: one that was frozen stays in inference mode (its statistics
    came with the pretrained weights and a small data set would spoil them), one that trained goes on training.
    `"train"` lets those in `where` train too. A layer whose output nobody takes (the pooler of a BERT whose tokens are
    averaged) stays frozen. Works in place, before `compile` (or compile again), and returns the model.

    Example: `kt.unfreeze(model, ["head", "top:3"])`
    """
    if batch_norm not in ("freeze", "train"):
        raise ValueError(f"`batch_norm` must be 'freeze' or 'train'. Received: {batch_norm!r}")
    named = named_layers(model) if where is None else select(model, where)
    held = (keras.layers.BatchNormalization,) if batch_norm == "freeze" else ()
    idle = idle_layers(model)
    chosen = {id(layer) for _, layer in named if not isinstance(layer, held) and id(layer) not in idle}
    if named and all(id(layer) in idle for _, layer in named):
        raise ValueError(f"A layer must have a part in the model's output to be trained. Received: where={where!r}")
    state = _state(model)
    _apply(model, {key: on or key in chosen for key, on in state.items()})
    return model


def came_frozen(model: keras.Model) -> bool:
    """Whether a part is frozen, as pretrained weights are; layers that have no part in the output do not count."""
    idle = idle_layers(model)
    return any(not layer.trainable and id(layer) not in idle for _, layer in owners(model))


def owners(model: keras.Model) -> list[NamedLayer]:
    """The layers that hold weights of their own, with their paths."""
    return [one for one in named_layers(model) if own_variables(one.layer)]


def frozen_variables(model: keras.Model) -> set[int]:
    """The ids of the weights that no training step can move now: those of layers that could train, and are frozen."""
    state = _state(model)
    still = [layer for _, layer in owners(model) if own_trainable_variables(layer) and not state[id(layer)]]
    return {id(variable) for layer in still for variable in own_variables(layer)}


def freeze_plan(model: keras.Model) -> dict[str, Any]:
    """Which layers train, as JSON: position, class and weight shapes identify a layer, its path is for people."""
    state = _state(model)
    layers = [{**_identity(one), "trainable": state[id(one.layer)]} for one in owners(model)]
    return {"format": PLAN_FORMAT, "layers": layers}


def apply_plan(model: Model, plan: dict[str, Any]) -> Model:
    """Freeze and unfreeze `model` as the plan says; a plan of another model is a `ValueError` that names the first difference."""
    if plan.get("format") != PLAN_FORMAT:
        raise ValueError(f"A freeze plan must have format {PLAN_FORMAT}. Received: format={plan.get('format')!r}")
    here, there = owners(model), plan["layers"]
    if len(here) != len(there):
        raise ValueError(
            f"The freeze plan is for another model: it must hold {len(here)} layers. Received: {len(there)} layers"
        )
    for one, entry in zip(here, there, strict=True):
        mine = _identity(one)
        if (mine["class"], mine["shapes"]) != (entry["class"], entry["shapes"]):
            raise ValueError(
                f"The freeze plan is for another model: at {one.path!r} it must hold a {mine['class']} with weights "
                f"{mine['shapes']}. Received: {entry['class']} with {entry['shapes']} ({entry['path']!r})"
            )
    _apply(model, {id(one.layer): bool(entry["trainable"]) for one, entry in zip(here, there, strict=True)})
    return model


def _identity(one: NamedLayer) -> dict[str, Any]:
    shapes = [list(variable.shape) for variable in own_variables(one.layer)]
    return {"path": one.path, "class": type(one.layer).__name__, "shapes": shapes}


def _state(model: keras.Model) -> dict[int, bool]:
    """For each layer with weights of its own: whether they train, every ancestor's flag taken into account."""
    state: dict[int, bool] = {}

    def visit(layer: keras.layers.Layer, on: bool) -> None:
        on = on and layer.trainable
        if own_variables(layer):
            trains = own_trainable_variables(layer)
            alive = on and (not trains or any(variable.trainable for variable in trains))
            state[id(layer)] = state.get(id(layer), True) and alive
        for child in sublayers(layer):
            visit(child, on)

    visit(model, True)
    if not state:
        raise ValueError(
            f"The model must be built (call it once, or give it an input shape) first. Received: model {model.name!r}"
        )
    return state


def _apply(model: keras.Model, wanted: dict[int, bool]) -> None:
    """Write the flags leaf by leaf: `model.trainable = True` is a no-op on TensorFlow where the flag is True already."""
    layers = list(walk(model))
    composites = [layer for layer in layers if sublayers(layer)]
    leaves = [layer for layer in layers if id(layer) in wanted and not sublayers(layer)]
    for layer in composites:
        if not layer.trainable:
            layer.trainable = True
    for layer in leaves:
        layer.trainable = wanted[id(layer)]
    for layer in reversed(composites):
        below = [wanted[id(one)] for one in walk(layer) if id(one) in wanted]
        if below and not any(below):
            layer.trainable = False  # so that Keras' own files and summaries see a wholly frozen part as frozen
        elif id(layer) in wanted:
            for variable in own_trainable_variables(layer):
                variable.trainable = wanted[id(layer)]


@dataclass(frozen=True)
class TrainableReport:
    """What trains and what does not: a row a part, and the totals; prints as a table, in Jupyter as HTML."""

    rows: list[dict[str, Any]]
    trainable: int
    total: int

    @property
    def line(self) -> str:
        """The totals in one line: `trainable params: 294,912 || all params: 109,777,152 || trainable%: 0.2686`."""
        share = 100 * self.trainable / max(self.total, 1)
        return f"trainable params: {self.trainable:,} || all params: {self.total:,} || trainable%: {share:.4f}"

    def __str__(self) -> str:
        width = max([len(row["part"]) for row in self.rows] + [4])
        lines = [f"{'part':<{width}}  {'class':<24} {'params':>12} {'trainable':>12}  state"]
        for row in self.rows:
            lines.append(
                f"{row['part']:<{width}}  {row['class']:<24} {row['params']:>12,} {row['trainable']:>12,}  {row['state']}"
            )
        return "\n".join([*lines, self.line])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("part", "class", "params", "trainable", "state"))
        body = "".join(
            f"<tr><td>{html.escape(row['part'])}</td><td>{html.escape(row['class'])}</td><td>{row['params']:,}</td>"
            f"<td>{row['trainable']:,}</td><td>{row['state']}</td></tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{self.line}</p>"


def trainable_report(model: keras.Model, depth: int = 1) -> TrainableReport:
    """What trains, a row a layer down to `depth` levels (1: the parts, 2: the backbone's layers too).

    Example: `print(kt.trainable_report(model))`
    """
    if depth < 1:
        raise ValueError(f"`depth` must be at least 1. Received: {depth!r}")
    state = _state(model)
    # What is no weight of the network: where L2-SP pulls to, the switches of adapters and what is kept of their heads.
    aside = {id(one) for name in ("start_values", "aside") for one in getattr(model, name, ())}
    rows = [
        {
            "part": path,
            "class": type(layer).__name__,
            "params": _count([one for one in layer.weights if id(one) not in aside]),
            "trainable": _count(layer.trainable_weights),
            "state": _describe(layer, state),
        }
        for path, layer in named_layers(model)
        if path.count("/") < depth
    ]
    weights = [one for one in model.weights if id(one) not in aside]
    return TrainableReport(rows, _count(model.trainable_weights), _count(weights))


def _describe(layer: keras.layers.Layer, state: dict[int, bool]) -> str:
    below = [one for one in walk(layer) if own_trainable_variables(one)]
    frozen = [one for one in below if not state.get(id(one), True)]
    if not below:
        return "nothing to train"
    if len(frozen) == len(below):
        return "frozen"
    if frozen and all(isinstance(one, keras.layers.BatchNormalization) for one in frozen):
        return "trains, BatchNorm frozen"
    return "partly frozen" if frozen else "trains"


def _count(variables: list[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
