"""Several adapters on one base: which one counts and trains, none for a while, and the base back as it was."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from ..core.freezing import apply_plan, freeze, unfreeze
from ..core.optimizers import LayerwiseOptimizer, with_exclusions_of
from ..core.surgery import compile_arguments, forget_traces
from .heads import BASE
from .injected import Injected
from .places import adapter_names, adapters_called, take_away
from .targets import head_layers

_LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def check_name(model: keras.Model, name: str) -> str:
    """A name for a new adapter: a word of letters, digits, `_`, `-` and `.` that no adapter of `model` has."""
    if isinstance(model, Injected):
        _check_outside(model)
    if not isinstance(name, str) or not name or not set(name) <= _LETTERS:
        raise ValueError(f"An adapter's name must be of letters, digits, '_', '-' and '.'. Received: {name!r}")
    if name in adapter_names(model):
        raise ValueError(f"Each adapter has its own name; choose another, or `eject` that one. Received: {name!r}")
    return name


def check_injected(model: Any) -> Injected:
    """`model` where `inject` made it, else a `TypeError`."""
    if not isinstance(model, Injected):
        raise TypeError(f"`model` must be what `kt.peft.inject` returns. Received: {type(model).__name__}")
    return model


def _check_outside(model: Injected) -> None:
    """A `ValueError` within `disabled`, which puts back the gates and the head that it found."""
    if model.held.disabled:
        raise ValueError(
            "Adapters come, change and go outside `kt.peft.disabled`, which puts back what it found; do it behind the block. "
            f"Received: model {model.name!r} with its adapters disabled"
        )


def activate(model: Injected, name: str | Sequence[str], *, head: str | None = None) -> Injected:
    """Let the adapter `name` (or several, whose additions add up) count and train, and no other.

    The layers of the base that train with an adapter (its head) come with it; several adapters with heads of their own
    need a word on whose to take, `head`. Outputs change at once, also where `predict` was traced before. A compiled model
    whose trained weights are others now is compiled again, with a new optimizer. Returns the model.

    Raises `ValueError` for an unknown name, with the nearest, and where several heads are meant.

    Example: `kt.peft.activate(model, "german").predict(texts)`
    """
    _check_outside(check_injected(model))
    names = [name] if isinstance(name, str) else list(dict.fromkeys(name))
    if not names:
        raise ValueError(f"Name at least one adapter, or use `disabled(model)`. Received: name={name!r}")
    chosen = {id(one) for each in names for one in adapters_called(model, each)}
    with_head = [one for one in names if model.heads.layers.get(one)]
    if head is not None and head not in names:
        raise ValueError(f"`head` must be one of the adapters that are made active, {names}. Received: head={head!r}")
    if head is None and len(with_head) > 1:
        raise ValueError(
            f"Each of {with_head} has a head of its own; say whose to take, `head={with_head[0]!r}`. Received: {names}"
        )
    before = [id(one) for one in model.trainable_variables]
    live = head or (with_head[0] if with_head else BASE)
    model.heads.show(live)
    adapters = [adapter for one in model.injections for adapter in one.adapters.values()]
    for adapter in adapters:
        adapter.gate.assign(float(id(adapter) in chosen))
    trained = [*[one for one in adapters if id(one) in chosen], *model.heads.layers_of(live)]
    others = [one for each in model.heads.layers for one in model.heads.layers_of(each)]
    still = [one for one in [*adapters, *others] if all(one is not each for each in trained)]
    if still:
        freeze(model, still)
    unfreeze(model, trained)
    new = {id(one) for one in head_layers(model)}  # its statistics are no pretrained ones, which would be spoiled
    norm = keras.layers.BatchNormalization
    if norms := [one for one in model.heads.layers_of(live) if id(one) in new and isinstance(one, norm)]:
        unfreeze(model, norms, batch_norm="train")
    if model.compiled and [id(one) for one in model.trainable_variables] != before:
        compile_anew(model)
    return model


def active(model: Injected) -> list[str]:
    """The names of the adapters that count now.

    Example: `kt.peft.active(model)` gives `["default"]`.
    """
    on = {
        name: None
        for one in check_injected(model).injections
        for name, adapter in one.adapters.items()
        if not adapter.idle
    }
    return list(on)


@contextlib.contextmanager
def disabled(model: Injected) -> Iterator[Injected]:
    """Within this block no adapter counts, and the head is the base's: the model is the base, and does not train.

    Example:
        with kt.peft.disabled(model):
            before = model.predict(texts)
    """
    gates, live, before = check_injected(model).gates, model.heads.live, model.held.disabled
    values = [ops.convert_to_numpy(gate) for gate in gates]
    model.heads.show(BASE)
    for gate in gates:
        gate.assign(0.0)
    model.held.disabled = True
    try:
        yield model
    finally:
        model.held.disabled = before
        model.heads.show(live)
        for gate, value in zip(gates, values, strict=True):
            gate.assign(value)


def eject(model: Injected, name: str | None = None) -> keras.Model:
    """Take the adapter `name` out, or all of them.

    With all of them out (or the last) the base comes back as it was, to the bit: its layers in their places, the head's
    values too, and frozen what was frozen before. Otherwise the injected model without that adapter; where it was the only
    active one, none is, until you `activate` another. A base that was quantised stays so, inside an injected model without
    adapters.

    Example: `base = kt.peft.eject(model)`
    """
    _check_outside(check_injected(model))
    names = adapter_names(model) if name is None else [name]
    for one in names:
        adapters_called(model, one)
    before, live = [id(one) for one in model.trainable_variables], model.heads.live
    stay = [] if live in names else model.heads.layers_of(live)  # adapters may train the same layers
    heads = [layer for one in names for layer in model.heads.layers_of(one)]
    if heads := [layer for layer in heads if all(layer is not one for one in stay)]:
        freeze(model, heads)
    for one in names:
        model.heads.drop(one)
    take_away((model, model.base), names)
    forget_traces((model, model.base))
    if not adapter_names(model) and not model.held.replaced:
        return go_home(model)
    if live in names and (rest := active(model)):
        activate(model, rest, head=next((one for one in rest if model.heads.layers[one]), None))
    if model.compiled and [id(one) for one in model.trainable_variables] != before:
        compile_anew(model)
    return model


def go_home(model: Injected) -> keras.Model:
    """The base of a model whose injections are gone: frozen as it was, and compiled where it is, with a new optimizer."""
    base = apply_plan(model.base, model.held.start)
    if base.compiled:
        compile_anew(base)
    return base


def compile_anew(model: keras.Model, arguments: dict[str, Any] | None = None) -> None:
    """Compile with the same arguments and a new optimizer: an optimizer belongs to the weights that it was made for.

    It is Keras' own `compile`: one that a task has beside it would set its sampler back.
    """
    arguments = dict(arguments or compile_arguments(model))
    if isinstance(arguments["optimizer"], keras.optimizers.Optimizer):
        arguments["optimizer"] = _new(arguments["optimizer"])
    for one in (model.base, model) if isinstance(model, Injected) else (model,):
        keras.Model.compile(one, **arguments)


def _new(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The same, for other weights. Rates by layer were resolved for those that were; what has them goes on with one rate."""
    config = optimizer.get_config()
    if isinstance(optimizer, LayerwiseOptimizer) and optimizer.table is not None:
        return keras.optimizers.deserialize(config["inner"])
    return with_exclusions_of(optimizer, type(optimizer).from_config(config))
