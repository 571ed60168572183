"""A learning rate that rises to a peak and falls again, with its length in steps or epochs: what our schedules share."""

import math
from typing import Any

import keras
from keras import ops

from .numbers import count, number


class RateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises to `peak` during a warm-up, then falls; beyond the last step it stays at its end.

    Give the length as `steps` (optimizer steps), or as `epochs` with `steps_per_epoch` (batches of an epoch).
    `accumulation` is the `gradient_accumulation_steps` of the optimizer: Keras asks a schedule for the rate of a
    batch, and k batches make one optimizer step, so `steps` last k * steps batches, `epochs` last
    epochs * steps_per_epoch // k optimizer steps, and the k batches of one step share its rate: an accumulated run has
    the rates of a run with k times larger batches.

    `warmup` is a share of the length, in [0, 1), rounded down to whole steps: for 500 of 10,000 steps 0.05.

    With `n` steps, of which `w = floor(warmup * n)` rise, step t = 0, 1, ... has the rate `rise(t / w)` for t < w, then
    `fall((t - w) / (n - w))`; `fall(1)`, the end, is reached after the last step. Subclasses say what rise and fall are.
    """

    def __init__(
        self,
        peak: float,
        steps: int | None = None,
        *,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        accumulation: int = 1,
        warmup: float = 0.0,
    ) -> None:
        self.peak = number("peak", peak, above=0.0)
        self.accumulation = count("accumulation", accumulation)
        self.warmup = number("warmup", warmup, least=0.0, below=1.0)
        if (steps is None) == (epochs is None):
            raise ValueError(
                "Give the length once: `steps`, or `epochs` with `steps_per_epoch`. "
                f"Received: steps={steps!r}, epochs={epochs!r}"
            )
        if (epochs is None) != (steps_per_epoch is None):
            raise ValueError(
                "`steps_per_epoch` goes with `epochs`, and `epochs` with it. "
                f"Received: epochs={epochs!r}, steps_per_epoch={steps_per_epoch!r}"
            )
        self.steps = None if steps is None else count("steps", steps)
        self.epochs = None if epochs is None else count("epochs", epochs)
        self.steps_per_epoch = None if steps_per_epoch is None else count("steps_per_epoch", steps_per_epoch)
        batches = (self.epochs or 0) * (self.steps_per_epoch or 0)
        self.length = self.steps or batches // self.accumulation
        if not self.length:
            raise ValueError(
                f"The length must hold one optimizer step, {self.accumulation} batches with this `accumulation`. "
                f"Received: {batches} batches"
            )
        self.rising = math.floor(round(self.warmup * self.length, 9))  # 0.29 * 100 is 28.999999999999996
        self.falling: float = self.length - self.rising

    def rise(self, share: Any) -> Any:
        """The rate when `share` (0..1) of the warm-up is done."""
        return self.peak * share

    def fall(self, share: Any) -> Any:
        """The rate when `share` (0..1) of what follows the warm-up is done."""
        raise NotImplementedError

    def __call__(self, step: Any) -> Any:
        done = ops.floor_divide(step, self.accumulation) if self.accumulation > 1 else step
        done = ops.cast(done, "float32")  # whole numbers up to 16,777,216; bfloat16 would end at 256
        fallen = ops.clip((done - self.rising) / self.falling, 0.0, 1.0)
        if not self.rising:
            return self.fall(fallen)
        return ops.where(done < self.rising, self.rise(done / self.rising), self.fall(fallen))

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "steps", "epochs", "steps_per_epoch", "accumulation", "warmup")
        return {name: getattr(self, name) for name in names}
