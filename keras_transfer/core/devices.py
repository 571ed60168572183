"""Which devices a model trains on: `strategy("auto")` takes all of one machine."""

import contextlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import keras

from .messages import nearest

WORDS = ("auto", "mirrored")


def strategy(name: str | Sequence[str] = "auto") -> Any:
    """The `tf.distribute.Strategy` for several devices of one machine; a model made under its `scope()` trains on all.

    Every step divides its batch over the devices, and each device holds a copy of the weights (synchronous data
    parallelism), so that the same epochs give the same weights as on one device. Three things differ: clipping by norm
    happens on each device before the gradients are summed, random layers draw their own numbers, and BatchNorm that
    trains sees its own part of the batch.

    name: `"auto"`: all GPUs, or all logical CPU devices where there is no GPU; where there is one device, TensorFlow's
    default strategy, which changes nothing. `"mirrored"`: a `MirroredStrategy` in any case. A list such as
    `["GPU:0", "GPU:1"]`: those. On the TensorFlow backend only; several machines are not offered.

    Example:
        with kt.strategy("auto").scope():
            model = kt.build_classifier("mobilenet_v2", num_classes=3, weights=None, input_shape=(96, 96, 3))
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "`strategy` needs the TensorFlow backend; elsewhere use keras.distribution. "
            f"Received: backend {keras.config.backend()!r}"
        )
    import tensorflow as tf

    gpus, cpus = ([_plain(one.name) for one in tf.config.list_logical_devices(kind)] for kind in ("GPU", "CPU"))
    if isinstance(name, str):
        if name not in WORDS:
            raise ValueError(_unknown(name))
        chosen = gpus or cpus
        return tf.distribute.get_strategy() if name == "auto" and len(chosen) == 1 else _mirrored(frozenset(chosen))
    return _mirrored(frozenset(_known(name, [*gpus, *cpus])))


@cache
def _mirrored(devices: frozenset[str]) -> Any:
    """One object for the same devices: a second one in a process fails at its first sum over another model's gradients."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(sorted(devices))


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """The scope of the strategy that `model` was made under, for all that is made beside it; a no-op where there is none."""
    own = getattr(model, "distribute_strategy", None)
    return own.scope() if own is not None else contextlib.nullcontext()


def replicas(model: keras.Model) -> int:
    """How many devices hold a copy of `model`."""
    own = getattr(model, "distribute_strategy", None)
    return own.num_replicas_in_sync if own is not None else 1


def _plain(device: str) -> str:
    """`GPU:0` for `/device:GPU:0`, `/gpu:0` and `gpu:0`."""
    return device.upper().removeprefix("/").removeprefix("DEVICE:")


def _unknown(name: str) -> str:
    hint = "Several machines are not offered." if name.startswith("multi") else nearest(name, WORDS)
    return f"`name` must be 'auto', 'mirrored' or a list of devices. {hint} Received: {name!r}"


def _known(names: Sequence[str], available: list[str]) -> list[str]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) for one in names):
        raise TypeError(f"`name` must be 'auto', 'mirrored' or a list of device names. Received: {names!r}")
    chosen = [_plain(one) for one in names]
    for one in chosen:
        if one not in available:
            raise ValueError(f"There is no such device here. {nearest(one, available)} Received: {one!r}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"Each device must be named once, and at least one of them. Received: {list(names)!r}")
    return chosen
