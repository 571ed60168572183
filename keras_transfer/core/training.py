"""One optimizer for all weights that will ever train, which at each moment is the optimizer of those that train now."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import keras

from .devices import replicas, scope


@dataclass
class _Cover:
    """What an optimizer was built over: the slot of each variable (its moments' place) and its moving averages."""

    slots: dict[Any, int]
    averages: list[Any]
    active: set[Any] = field(default_factory=set)


_COVERS: "WeakKeyDictionary[keras.optimizers.Optimizer, _Cover]" = WeakKeyDictionary()


def cover(model: keras.Model, variables: list[keras.Variable]) -> None:
    """Build the optimizer of a compiled model over `variables`, those that train now and those that will.

    Where Keras has built it over fewer (under a strategy and on JAX, `fit` does so before any callback), it is built
    anew in place; that cannot be once it has stepped, and is then a `ValueError`. Call `retrace` next.
    """
    optimizer = model.optimizer
    missing = _missing(optimizer, variables)
    if not missing:
        return
    stepped = max(int(keras.ops.convert_to_numpy(one._iterations)) for one in family(optimizer))
    if stepped:
        raise ValueError(
            "The optimizer must cover every weight that is to train before its first step; compile the model again, with "
            f"a new optimizer. Received: an optimizer that made {stepped} step(s) without {missing[0].path!r} and "
            f"{len(missing) - 1} more"
        )
    with scope(model):
        _build_anew(optimizer, variables)


def retrace(model: keras.Model) -> None:
    """Let a running `fit` train, from its next step, what `model.trainable_variables` says now; moments and iterations
    survive.

    `fit` asks for `model.train_function` at every step, so that a new one takes effect at once. The optimizer keeps the
    moments of all that it covers and shows Keras those that train: a frozen variable gets no gradient, no decay and no
    average, has no part in a norm, and the moving average of one that is unfrozen begins at its value.
    """
    _activate(model.optimizer, model.trainable_variables)
    with scope(model):
        model.make_train_function(force=True)
    model.test_function = None  # its loss holds the regularisation of what trained


def runs(model: keras.Model) -> bool:
    """Whether a `fit` that has begun is this model's own, and not that of a part of it."""
    return model.train_function is not None


def refuse_impossible(model: keras.Model) -> None:
    """Raise `ValueError`, in one sentence, for a setting of a compiled model that fails inside Keras on several devices."""
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    mirrored = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not isinstance(model.distribute_strategy, mirrored):
        return
    optimizers = family(model.optimizer)
    several = replicas(model) > 1
    limits = {
        "steps_per_execution": several and model.steps_per_execution > 1 and model.steps_per_execution,
        "jit_compile": several and model.jit_compile,
        "gradient_accumulation_steps": next((n for one in optimizers if (n := one.gradient_accumulation_steps)), None),
        "ema_overwrite_frequency": next(
            (n for one in optimizers if (n := one.use_ema and one.ema_overwrite_frequency)), None
        ),
    }
    for name, value in limits.items():
        if value:
            raise ValueError(
                f"Keras cannot train with `{name}` under a MirroredStrategy; leave it out, or train on one device. "
                f"Received: {name}={value}"
            )


def family(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """An optimizer and those that it wraps (loss scaling, layer-wise rates, several optimizers)."""
    inside = [getattr(optimizer, "inner_optimizer", None), *getattr(optimizer, "optimizers", ())]
    return [optimizer, *(one for held in inside if held is not None for one in family(held))]


def _missing(optimizer: Any, variables: list[keras.Variable]) -> list[keras.Variable]:
    """Those of `variables` that the optimizer was not built over."""
    if not optimizer.built:
        return list(variables)
    slots = _record(optimizer).slots
    return [variable for variable in variables if optimizer._var_key(variable) not in slots]


def _record(optimizer: Any) -> _Cover:
    """What a built optimizer covers; noted before anything is taken from its own lists."""
    if optimizer not in _COVERS:
        slots = dict(optimizer._trainable_variables_indices)
        averages = list(getattr(optimizer, "_model_variables_moving_average", ()))
        _COVERS[optimizer] = _Cover(slots, averages, active=set(slots))
    return _COVERS[optimizer]


def _build_anew(optimizer: Any, variables: list[keras.Variable]) -> None:
    """Build, or forget what was built and build again: the object stays the user's own, with all its settings."""
    old = {one: list(one._variables) for one in family(optimizer)}
    for one in old:
        one.built = False
        _set(one, "_trainable_variables_indices", {})
        _COVERS.pop(one, None)
    optimizer.build(list(variables))
    for one, made in old.items():
        kept = {id(value) for value in vars(one).values()}  # iterations, rate, and whatever else `__init__` made
        for variable in made:
            if id(variable) not in kept:
                one._untrack_variable(variable)
        if one.built:
            _record(one).active.clear()


def _activate(optimizer: Any, variables: list[keras.Variable]) -> None:
    """Show Keras an optimizer over `variables` alone, in their order, with the slots that they have."""
    for one in family(optimizer):
        if not one.built:
            continue
        record = _record(one)
        mine = {one._var_key(variable): variable for variable in variables if one._var_key(variable) in record.slots}
        _set(one, "_trainable_variables", list(mine.values()))
        _set(one, "_trainable_variables_indices", {key: record.slots[key] for key in mine})
        if record.averages:
            for key in mine.keys() - record.active:
                if record.averages[record.slots[key]] is not None:
                    record.averages[record.slots[key]].assign(keras.ops.copy(mine[key]))  # JAX: no shared memory
            _set(one, "_model_variables_moving_average", [record.averages[record.slots[key]] for key in mine])
        record.active = set(mine)


def _set(optimizer: Any, name: str, value: Any) -> None:
    """Set an attribute past the trackers of Keras and TensorFlow, which would take the model's variables for the optimizer's."""
    object.__setattr__(optimizer, name, value)


def stored_values(variables: Iterable[keras.Variable]) -> list[Any]:
    """What the variables hold now, which stays when they move on, in their own dtype also inside a layer of another."""
    values = []
    for variable in variables:
        cast, variable._autocast = variable._autocast, False
        try:
            values.append(keras.ops.copy(variable.value))
        finally:
            variable._autocast = cast
    return values


def training_now(layer: keras.layers.Layer) -> bool | None:
    """Whether the call that `layer` is in is a training step, as Keras passes it on to layers that were not told."""
    return layer._get_call_context().get_value("training")
