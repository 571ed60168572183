"""One stage of a training: what trains, for how long, at which rate; and a model and an optimizer made ready for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import keras

from ..core.batch_norm import POLICIES
from ..core.freezing import freeze, unfreeze
from ..core.numbers import count
from ..core.rates import layerwise_decay
from ..core.registry import get
from ..core.schedules import scheduled
from ..core.selection import Where, select
from .constant_rate import batches_a_step

AS_IT_IS = "as it is"
Rate = Any  # a number, or a keras.optimizers.schedules.LearningRateSchedule


@dataclass(frozen=True)
class Stage:
    """One stage: what trains (`where`; None is all, "as it is" leaves the model so), for how many epochs, at which rate.

    learning_rate: a number, or a schedule of Keras or ours. schedule: how the number moves over the stage, "constant" or
    a name of `core.schedules` ("one_cycle", "warmup_cosine", ...). layer_decay: the factor by which the rate falls from
    block to block towards the input. batch_norm: "freeze" keeps a BatchNorm that came frozen in inference mode, "train"
    trains those in `where`, "reestimate" trains them and computes their statistics anew at the end (validation sees the
    lagging averages until then). optimizer: makes an optimizer from a rate; each stage has its own.

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
        if self.as_it_is and self.batch_norm != "freeze":
            raise ValueError(f"{AS_IT_IS!r} leaves BatchNorm as it is, too; name layers. Received: {self.batch_norm!r}")
        count("epochs", self.epochs)
        if not callable(self.optimizer):
            raise TypeError(
                "`optimizer` must make an optimizer from a rate, for example keras.optimizers.SGD or lambda rate: SGD(rate, 0.9). "
                f"Received: {self.optimizer!r}"
            )
        rate = self.learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            if self.schedule != "constant":
                raise ValueError(
                    f"Give a schedule as `learning_rate`, or a number and a name, not both. Received: {self.schedule!r}"
                )
        elif isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) < math.inf:
            raise ValueError(f"`learning_rate` must be a number above 0, or a schedule. Received: {rate!r}")

    @property
    def as_it_is(self) -> bool:
        """Whether it trains what the model has unfrozen."""
        return isinstance(self.where, str) and self.where == AS_IT_IS

    @property
    def rate(self) -> float | None:
        """The learning rate as a number; None where a schedule sets it."""
        return float(self.learning_rate) if isinstance(self.learning_rate, Real) else None

    def describe(self) -> dict[str, Any]:
        """What makes this stage this stage, as JSON; functions and layers by their names."""
        where = self.where if isinstance(self.where, (list, tuple)) else [self.where]
        plain = [
            one if isinstance(one, str) else getattr(one, "name", None) or getattr(one, "__qualname__", str(one))
            for one in where
        ]
        rate = self.rate if self.rate is not None else str(self.learning_rate.get_config())
        maker = getattr(self.optimizer, "__qualname__", type(self.optimizer).__qualname__)
        told = {
            "name": self.name,
            "where": plain,
            "epochs": int(self.epochs),
            "learning_rate": rate,
            "optimizer": maker,
        }
        return told | {"schedule": self.schedule, "layer_decay": self.layer_decay, "batch_norm": self.batch_norm}


def prepare(model: keras.Model, stage: Stage, fresh: Sequence[keras.layers.Layer]) -> None:
    """Freeze everything, then let the stage's layers train, and those of the `fresh` BatchNorm layers that are among them.

    A BatchNorm is fresh when it came trainable: it has no pretrained statistics to protect, and trains wherever its
    stage does.
    """
    if stage.as_it_is:
        return
    freeze(model)
    unfreeze(model, stage.where, batch_norm="freeze" if stage.batch_norm == "freeze" else "train")
    chosen = {id(layer) for _, layer in select(model, stage.where)} if stage.where is not None else None
    here = [layer for layer in fresh if chosen is None or id(layer) in chosen]
    if here:
        unfreeze(model, here, batch_norm="train")


def optimizer_for(stage: Stage, model: keras.Model, steps_per_epoch: int | None) -> keras.optimizers.Optimizer:
    """The stage's own optimizer, with its schedule over the whole stage and its rates by depth."""
    rate = stage.learning_rate if stage.rate is None else stage.rate
    if stage.schedule != "constant":
        get("schedule", stage.schedule)
        if steps_per_epoch is None:
            raise ValueError(
                "A schedule needs the length of an epoch; pass `steps_per_epoch`. "
                f"Received: {stage.schedule!r} with data of unknown length"
            )
        batches = batches_a_step(stage.optimizer(rate))
        rate = scheduled(stage.schedule, rate, stage.epochs, steps_per_epoch, accumulation=batches)
    optimizer = stage.optimizer(rate)
    return optimizer if stage.layer_decay is None else layerwise_decay(optimizer, model, stage.layer_decay)
