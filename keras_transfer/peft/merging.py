"""Fold the adapters into the base: a plain Keras model, as fast as it was, that has learned."""

import keras
import numpy as np
from keras import ops

from ..core.surgery import forget_traces
from .adapters import active, check_injected, go_home
from .injected import Injected
from .places import adapter_names, take_away


def merge(model: Injected) -> keras.Model:
    """Fold the active adapters into the weights of the base, and give that back: a plain model without injections.

    A keras-hub task is a task again, of its own class, and a `.keras` file of it needs nothing of ours but what the base
    needed. The head is the active adapters'; adapters that are not active are dropped. What was frozen before `inject` is
    frozen again, the outputs are those of the injected model up to rounding (about 1e-6), and where the model was compiled
    it is, with a new optimizer.

    Raises `ValueError` where no adapter is active, for a method or a quantised base that cannot take its adapter up (it
    says what to do instead), and where a weight is no number; then nothing has changed.

    Example: `kt.peft.merge(model).save("reviews.keras")`
    """
    names = active(check_injected(model))
    if not names:
        raise ValueError(f"Some adapter must be active to be merged; `activate` one. Received: {adapter_names(model)}")
    chosen = [(one, one.adapters[name]) for one in model.injections for name in names if name in one.adapters]
    if model.held.replaced:
        raise ValueError(
            "A base that was quantised or rematerialised cannot take adapters up; `kt.peft.dequantize` it first, which undoes both. "
            f"Received: model {model.name!r}"
        )
    for injection, adapter in chosen:
        injection.check_merge()
        _check_numbers(adapter.weights, f"{injection.path_of_base}/{adapter.name}")
    for path, variables in model.heads.values(model.heads.live).items():
        _check_numbers(variables, path)
    for injection, adapter in reversed(chosen):  # the inner one first: what stands around it acts on what it adds too
        injection.merge(adapter)
    take_away((model, model.base), adapter_names(model))
    forget_traces((model, model.base))
    return go_home(model)


def _check_numbers(variables: list[keras.Variable], path: str) -> None:
    for variable in variables:
        if not np.isfinite(ops.convert_to_numpy(variable)).all():
            raise ValueError(
                "A weight that is no finite number cannot be merged; train again with a lower rate. "
                f"Received: {variable.name!r} at {path!r}"
            )
