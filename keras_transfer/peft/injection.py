"""`inject`: freeze a model, and let a few new weights learn in its place."""

from typing import Any

import keras

from ..core.freezing import freeze, freeze_plan
from ..core.idle import idle_layers
from ..core.registry import get
from ..core.selection import Where, select
from ..core.surgery import compile_arguments, forget_traces, functional, own_trainable_variables
from .adapters import activate, check_injected, check_name, compile_anew
from .bias import places_with_bias
from .injected import Injected
from .places import Adapters, adapter_names, adapters_called, places, put_around, take_away, wrappers
from .targets import find_targets, head_layers
from .wrapper import Adapter, Injection

AUTO, LIKE = "auto", "like"
STEPS = ("train_step", "test_step", "predict_step", "compute_loss")


def inject(
    model: keras.Model,
    method: str = "lora",
    where: Where = None,
    *,
    train: Where = AUTO,
    name: str = "default",
    **settings: Any,
) -> Injected:
    """Put adapters of a method around layers of `model`, and freeze everything but them and what `train` names.

    The layers are replaced in place: from now on `model` is the base of what comes back, an `Injected` model with the same
    inputs, outputs and layers, that fits, predicts, generates, saves and loads as the base did; `eject` gives the base
    back, `merge` a plain model with the adapters folded in. What it computes is at the start what the base computes, to
    the bit outside a traced function. Where the base is compiled, the injected model is too, with a new optimizer.

    method: "lora", or another that is registered.
    where: which layers. None is what the method takes by itself, for LoRA query and value of every attention; a `where`
    (`"all-linear"`, paths, patterns, classes), or the names of HF PEFT ("q_proj", "value", ...).
    train: what of the base trains too: "auto" is the task's head where the model has one, None nothing, or a `where`. Each
    adapter has its own values of it, and the base keeps those that it had.
    name: the adapter's. Injecting an injected model adds one more; then it is this one that is active.
    settings: the method's own, for LoRA `rank`, `alpha`, `dropout`, `rslora`, `bias`.

    Raises `ValueError` for an unknown method or setting, where nothing is found to inject (with the nearest paths), for a
    name that is taken, and for a subclassed model, which has no graph.

    Example:
        model = kt.peft.inject(model, "lora", rank=8, alpha=16)
        print(kt.trainable_report(model).line)
        model.fit(x, y)
    """
    kind: type[Injection] = get("injection", method)
    settings = kind.settings(settings)
    _check_model(model)
    check_name(model, name)
    head = _head(model, train)
    whole = {id(one) for one in head}
    targets = [one for one in find_targets(model, kind, where, settings) if id(one.layer) not in whole]
    if not targets:
        raise ValueError(
            "What trains whole takes no adapter; name other layers in `where`, or say `train=None`. "
            f"Received: where={where!r}, train={train!r}"
        )
    idle = idle_layers(model)
    if all(id(one.layer) in idle for one in targets):
        raise ValueError(f"A layer must have a part in the model's output to be injected. Received: where={where!r}")
    arguments = compile_arguments(model)
    injected = model if isinstance(model, Injected) else wrap(model)
    paths = places(injected)
    spread = kind.spread(model, [one.layer for one in targets], settings)
    wanted: dict[str, dict[str, Adapters]] = {
        method: {paths[id(one.layer)]: {name: own} for one, own in zip(targets, spread, strict=True)}
    }
    if settings.get("bias") == "all":
        apart = {*wanted[method], *[paths[id(one)] for one in head]}
        wanted["bitfit"] = {path: {name: {}} for path in places_with_bias(injected) if path not in apart}
    _put(injected, wanted, name, head)
    if injected is not model:
        freeze(injected)
    activate(injected, name)
    if arguments:
        compile_anew(injected, arguments)
    return injected


def wrap(model: keras.Model) -> Injected:
    """`model` as an injected model without adapters, wholly frozen and not compiled."""
    if standing := wrappers(model):
        raise ValueError(
            "The model holds injections already; give what `inject` returned, or `eject` them first. "
            f"Received: model {model.name!r} with an injection at {standing[0].path_of_base!r}"
        )
    config, start = keras.saving.serialize_keras_object(model), freeze_plan(model)
    config.pop("compile_config", None)  # the injected model has its own
    return Injected.over(model, config, start, [])


def add_adapter(
    model: Injected, name: str, *, like: str | None = None, train: Where = LIKE, **settings: Any
) -> Injected:
    """Add one more adapter, at the layers and with the settings of the adapter `like` (the first by default).

    `settings` are those that differ. train: what of the base trains with it, "like" what trains with that adapter, or what
    `inject` takes; a layer that trains whole takes no adapter, here as there. The new adapter neither counts nor trains
    before `activate(model, name)`. For other layers or another method call `inject` on the injected model. Returns the model.

    Example: `kt.peft.activate(kt.peft.add_adapter(model, "german", rank=4), "german")`
    """
    check_injected(model)
    check_name(model, name)
    names = adapter_names(model)
    if not names:
        raise ValueError(f"The model has no adapter to take after; call `inject`. Received: model {model.name!r}")
    like = names[0] if like is None else like
    adapters_called(model, like)
    same = isinstance(train, str) and train == LIKE
    paths, head = places(model), model.heads.layers_of(like) if same else _head(model, train)
    whole = {paths[id(one)] for one in head}
    kinds = {type(one): one.method for one in model.injections if like in one.adapters}
    for key in settings:
        if not any(key in kind.settings({}) for kind in kinds):
            next(iter(kinds)).settings({key: settings[key]})  # which says what is wrong
    wanted: dict[str, dict[str, Adapters]] = {}
    for one in model.injections:
        if like in one.adapters and paths[id(one)] not in whole:
            known = type(one).settings({})
            theirs = {**one.adapters[like].settings, **{key: value for key, value in settings.items() if key in known}}
            wanted.setdefault(kinds[type(one)], {})[paths[id(one)]] = {name: type(one).settings(theirs)}
    if not wanted:
        raise ValueError(
            "What trains whole takes no adapter; leave `train` out, or call `inject` for other layers. "
            f"Received: train={train!r}, and {like!r} stands at {sorted(whole)}"
        )
    for method, adapters in wanted.items():  # some take all of their layers or none
        layers = [one.innermost for one in model.injections if one.method == method and paths[id(one)] in adapters]
        get("injection", method).spread(model, layers, dict(next(iter(adapters.values()))[name]))
    _put(model, wanted, name, head)
    for adapter in adapters_called(model, name):
        adapter.gate.assign(0.0)
    freeze(model, adapters_called(model, name))
    return model


def _put(model: Injected, wanted: dict[str, dict[str, Adapters]], name: str, head: list[keras.layers.Layer]) -> None:
    """Make the adapters and claim the head, or leave the model as it was."""
    paths, roots = places(model), (model, model.base)
    try:
        for method, adapters in wanted.items():
            kind: type[Injection] = get("injection", method)
            put_around(roots, kind, adapters)
            kind.begin(model, name, dict(next(iter(adapters.values()), {name: {}})[name]))
    except Exception:
        take_away(roots, [name])
        raise
    model.heads.claim(name, [paths[id(one)] for one in head])
    forget_traces(roots)


def _head(model: keras.Model, train: Where) -> list[keras.layers.Layer]:
    """The layers of the base that `train` names, those with weights to train."""
    if train is None:
        return []
    chosen = (
        head_layers(model) if isinstance(train, str) and train == AUTO else [one for _, one in select(model, train)]
    )
    weighty = [one for one in chosen if own_trainable_variables(one) and not isinstance(one, Adapter)]
    if not weighty and not (isinstance(train, str) and train == AUTO):
        raise ValueError(f"`train` must name layers with weights to train. Received: train={train!r}")
    return weighty


def _check_model(model: Any) -> None:
    """What can be injected: a graph whose training step is Keras' or keras-hub's reading of strings."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {type(model).__name__}")
    if functional(model) is None:
        raise ValueError(
            "An injection needs a Functional or a built Sequential model, whose layers a file names. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    for step in STEPS:
        owner = next(one for one in type(model).__mro__ if step in vars(one))
        if owner.__module__.partition(".")[0] != "keras":
            raise ValueError(
                f"A model with a `{step}` of its own would lose it; inject the model inside it, or a plain one over the same "
                f"layers. Received: {type(model).__name__} {model.name!r}"
            )
