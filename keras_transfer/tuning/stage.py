"""One stage of a training: what trains, for how long, at which rate; and a model and an optimizer made ready for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from ..core.batch_norm import POLICIES
from ..core.freezing import freeze, unfreeze
from ..core.rates import layerwise_decay
from ..core.schedules import scheduled
from ..core.selection import Where, select

AS_IT_IS = "as it is"
Rate = Any  # a number, or a keras.optimizers.schedules.LearningRateSchedule


@dataclass(frozen=True)
class Stage:
    """One stage: what trains (`where`; None is all, "as it is" leaves the model so), for how many epochs, at which rate.

    learning_rate: a number, or a schedule of Keras or ours. schedule: how the number moves over the stage, "constant" or
    a name of `core.schedules` ("one_cycle", "warmup_cosine", ...). layer_decay: the factor by which the rate falls from
    block to block towards the input. batch_norm: "freeze" keeps a BatchNorm that came frozen in inference mode, "train"
    trains those in `where`, "reestimate" trains them and computes their statistics anew at the end. optimizer: makes
    an optimizer from a rate; each stage has its own.

    Example: `Stage("top", ["head", "top:3"], epochs=5, learning_rate=1e-4)`
    """

    name: str
    where: Where = None
    epochs: int = 10
    learning_rate: Rate = 1e-3
    schedule: str = "constant"
    layer_decay: float | None = None
    batch_norm: str = "freeze"
    optimizer: Callable[[Any], keras.optimizers.Optimizer] = keras.optimizers.Adam

    def __post_init__(self) -> None:
        if self.batch_norm not in POLICIES:
            words = ", ".join(repr(word) for word in POLICIES)
            raise ValueError(f"`batch_norm` must be one of {words}. Received: {self.batch_norm!r}")
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise ValueError(f"`epochs` must be at least 1 in every stage. Received: {self.epochs!r}")
        rate = self.learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            if self.schedule != "constant":
                raise ValueError(
                    f"Give a schedule as `learning_rate`, or a number and a name, not both. Received: {self.schedule!r}"
                )
        elif isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
            raise ValueError(f"`learning_rate` must be a number above 0, or a schedule. Received: {rate!r}")


def prepare(model: keras.Model, stage: Stage, fresh: Sequence[keras.layers.Layer]) -> None:
    """Freeze everything, then let the stage's layers train, and those of the `fresh` BatchNorm layers that are among them.

    A BatchNorm is fresh when it came trainable: it has no pretrained statistics to protect, and trains wherever its
    stage does.
    """
    if isinstance(stage.where, str) and stage.where == AS_IT_IS:
        return
    freeze(model)
    unfreeze(model, stage.where, batch_norm="freeze" if stage.batch_norm == "freeze" else "train")
    chosen = {id(layer) for _, layer in select(model, stage.where)} if stage.where is not None else None
    here = [layer for layer in fresh if chosen is None or id(layer) in chosen]
    if here:
        unfreeze(model, here, batch_norm="train")


def optimizer_for(stage: Stage, model: keras.Model, steps_per_epoch: int | None) -> keras.optimizers.Optimizer:
    """The stage's own optimizer, with its schedule over the whole stage and its rates by depth."""
    rate = stage.learning_rate
    if stage.schedule != "constant":
        if steps_per_epoch is None:
            raise ValueError(
                "A schedule needs the length of an epoch; pass `steps_per_epoch`. "
                f"Received: {stage.schedule!r} with data of unknown length"
            )
        rate = scheduled(stage.schedule, rate, epochs=stage.epochs, steps_per_epoch=steps_per_epoch)
    optimizer = stage.optimizer(rate)
    return optimizer if stage.layer_decay is None else layerwise_decay(optimizer, model, stage.layer_decay)
