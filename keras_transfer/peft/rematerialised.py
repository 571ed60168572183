"""Blocks that keep nothing for the backward pass: they run again instead, with the same dropout (rematerialisation)."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ..core.registry import register
from ..core.training import stored_values, training_now


@register("rematerialise", kind="replacement")
def rematerialise(block: keras.layers.Layer) -> keras.layers.Layer:
    """Let a layer run a second time in the backward pass, so that only what goes in is kept of it; in place.

    Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174). A step costs about a forward pass
    more, and what stands between the passes is one tensor a block. `keras.remat` alone takes no keyword arguments on
    TensorFlow, and draws other dropout masks the second time; here a block's state goes in as values, and what became of
    it comes out once. Losses that a layer adds inside a block are lost. Calling it again on a block does nothing.

    Raises `ValueError` for a layer that is not built.
    """
    if not block.built:
        raise ValueError(f"A layer must be built (call the model once) to be rematerialised. Received: {block.name!r}")
    if not hasattr(block.call, "rematerialised"):
        block.call = _twice(block, block.call)
    return block


def _twice(block: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    inside = False

    @functools.wraps(call)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = keras.tree.flatten((args, kwargs))
        if inside or any(isinstance(one, keras.KerasTensor) for one in given):
            return call(*args, **kwargs)
        flows = [ops.is_tensor(one) and keras.backend.is_float_dtype(one.dtype) for one in given]
        trains, stays = stored_values(block.trainable_variables), stored_values(block.non_trainable_variables)
        moved: list[int] = []
        training = training_now(block)  # known to nobody in the backward pass

        def again(values: list[Any], tensors: list[Any]) -> Any:
            nonlocal inside
            fed = iter(tensors)
            filled = [next(fed) if flowing else one for one, flowing in zip(given, flows, strict=True)]
            again_args, again_kwargs = keras.tree.pack_sequence_as((args, kwargs), filled)
            variables = [*zip(block.trainable_variables, values, strict=True)]
            variables += [*zip(block.non_trainable_variables, stays, strict=True)]
            inside = True
            try:
                with keras.StatelessScope(state_mapping=variables) as scope:
                    outputs = block(*again_args, **{**again_kwargs, "training": training})
            finally:
                inside = False
            became = [scope.get_current_value(one) for one in block.non_trainable_variables]
            moved[:] = [place for place, (old, new) in enumerate(zip(stays, became, strict=True)) if new is not old]
            return outputs, [became[place] for place in moved]

        tensors = [one for one, flowing in zip(given, flows, strict=True) if flowing]
        outputs, became = keras.remat(again)(trains, tensors)
        for place, new in zip(moved, became, strict=True):
            block.non_trainable_variables[place].assign(new)
        return outputs

    run.rematerialised = True  # type: ignore[attr-defined]
    return run
