"""An optimizer with one rate that can be set: whether it has, a fresh one like it, how many batches its steps take."""

from copy import deepcopy
from typing import Any

import keras


def check_constant(optimizer: keras.optimizers.Optimizer) -> None:
    """Raise `ValueError` where `optimizer` has no single constant `learning_rate`."""
    rate = getattr(optimizer, "learning_rate", None)
    if not isinstance(rate, keras.Variable):
        kind = "several rates" if rate is None else "a schedule"
        raise ValueError(
            "The optimizer must have one constant `learning_rate` to sweep; compile with a number. "
            f"Received: {type(optimizer).__name__} with {kind}"
        )


def constant_twin(optimizer: keras.optimizers.Optimizer, rate: float) -> keras.optimizers.Optimizer:
    """A fresh optimizer with the config of `optimizer`, and `rate` where that has a rate or a schedule."""
    twin = type(optimizer).from_config(_with_rate(deepcopy(optimizer.get_config()), rate))
    check_constant(twin)
    return twin


def batches_a_step(optimizer: keras.optimizers.Optimizer) -> int:
    """How many batches the optimizer gathers for a step: its `gradient_accumulation_steps`, or those of what it wraps."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner.gradient_accumulation_steps or 1


def _with_rate(config: Any, rate: float) -> Any:
    """`config` with `rate` for every "learning_rate" in it: those of wrapped optimizers stand deeper."""
    if isinstance(config, dict):
        return {key: rate if key == "learning_rate" else _with_rate(value, rate) for key, value in config.items()}
    return [_with_rate(value, rate) for value in config] if isinstance(config, list) else config
