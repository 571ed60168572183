"""Which optimizers can be given rates by layer: new ones that change no more of a step than a variable's own update."""

import inspect
import math
from typing import Any

import keras

from .messages import nearest

_OWN = {"build", "update_step", "get_config", "from_config"}
_ALSO = {
    keras.optimizers.Nadam: "_backend_update_step",
    keras.optimizers.Muon: "_apply_weight_decay",
}  # known, and done


def unused(optimizer: Any) -> keras.optimizers.Optimizer:
    """`optimizer`, or the one of that name with Keras' defaults; one that was built (and may have stepped) is refused."""
    if isinstance(optimizer, str):
        base = keras.optimizers.Optimizer
        classes = (one for one in vars(keras.optimizers).values() if inspect.isclass(one) and issubclass(one, base))
        kinds = {one.__name__.lower(): one for one in classes if one is not base}
        if optimizer.lower() not in kinds:
            raise ValueError(f"Unknown optimizer. {nearest(optimizer.lower(), kinds)} Received: {optimizer!r}")
        optimizer = kinds[optimizer.lower()]()
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            f"`optimizer` must be a Keras optimizer or its name. Received: {optimizer!r} (of type {type(optimizer).__name__})"
        )
    if optimizer.built:
        raise ValueError(
            "Rates must be given before the optimizer is built or steps, for its state would be lost; make a new one. "
            f"Received: a built {type(optimizer).__name__}"
        )
    if not optimizer.variables:  # its counter and its rate went to the wrapper
        raise ValueError(
            "An optimizer can be part of one LayerwiseOptimizer only; make a new one. "
            f"Received: {type(optimizer).__name__} inside another"
        )
    return optimizer


def check_kind(optimizer: keras.optimizers.Optimizer) -> None:
    """Raise `ValueError` for one that has more than an update of its own: a variable at a time it would be another."""
    base = keras.optimizers.Optimizer
    kinds = type(optimizer).__mro__[: type(optimizer).__mro__.index(base)]
    own = {name for kind in kinds for name in vars(kind) if name != _ALSO.get(kind)}
    more = sorted(name for name in own & set(dir(base)) - _OWN if not name.startswith(("__", "_api_")))
    if more:
        raise ValueError(
            "Rates can be given to an optimizer that changes no more of a step than a variable's own update; give them to "
            f"the one inside, or use another. Received: {type(optimizer).__name__}, with its own {', '.join(more)}"
        )


def check_rate(optimizer: keras.optimizers.Optimizer) -> None:
    """Raise `ValueError` for a plain learning rate that is not a finite number above 0; a schedule is its own affair."""
    rate = plain_rate(optimizer)
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"The learning rate must be a finite number above 0. Received: {rate!r}")


def plain_rate(optimizer: keras.optimizers.Optimizer) -> float | None:
    """The learning rate where it is a number, not a schedule."""
    rate = optimizer.learning_rate
    return float(rate.numpy()) if isinstance(rate, keras.Variable) else None  # float() fails on replicas' variables
