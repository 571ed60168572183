"""The sweep itself, as a callback: rising rates, the loss at each, and everything put back."""

import math
from typing import Any

import keras
import numpy as np

from ..core.numbers import count, number
from .constant_rate import batches_a_step, check_constant
from .learning_rates import LearningRates, smooth


class LearningRateFinder(keras.callbacks.Callback):
    """Sweep the learning rate during a fit of your own, end that fit, and put everything back.

    Smith 2017, Cyclical Learning Rates for Training Neural Networks (arXiv:1506.01186). Point i = 0, ..., steps - 1 is
    an optimizer step at the rate `low (high / low)^(i / (steps - 1))`: a batch, or `gradient_accumulation_steps` of
    them, or what `steps_per_execution` runs at once. The sweep ends at `high`, where the loss is no number, or where the
    smoothed loss is above its first value and `stop_factor` times its lowest. Then weights, BatchNorm statistics,
    random states and the optimizer's variables, its rate too, are as they were when the fit began, and the fit ends;
    `result` is a `LearningRates`. `smoothing` is the width of the smoothing as a share of the sweep.

    The optimizer must have one constant `learning_rate`. A fit must be long enough for `steps` (else `result` holds
    those that ran). Where a fit is interrupted Keras calls no callback: call `restore()` then; `lr_find` does it itself.
    In our own fits it works too, but not on JAX, where a callback cannot set a rate in the middle of an epoch of a part.

    Example:
        finder = LearningRateFinder(steps=100)
        model.fit(x, y, epochs=10, callbacks=[finder])
        print(finder.result)
    """

    def __init__(
        self,
        low: float = 1e-7,
        high: float = 1.0,
        steps: int = 100,
        *,
        stop_factor: float = 4.0,
        smoothing: float = 0.03,
    ) -> None:
        super().__init__()
        self.low, self.high = number("low", low, above=0.0), number("high", high, above=0.0)
        self.steps = count("steps", steps)
        self.stop_factor = number("stop_factor", stop_factor, above=1.0)
        self.width = max(number("smoothing", smoothing, above=0.0, most=0.5) * self.steps, 1.0)
        if self.low >= self.high:
            raise ValueError(f"`low` must be below `high`. Received: low={low!r}, high={high!r}")
        if self.steps < 10:
            raise ValueError(f"`steps` must be at least 10, to tell a fall from noise. Received: {steps!r}")
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.diverged: float | None = None
        self._before: list[tuple[Any, np.ndarray]] = []
        self._seen: list[float] = []

    @property
    def result(self) -> LearningRates:
        """What the sweep found."""
        if not self.rates:
            raise ValueError("The finder has seen no batch yet; call `fit` with it, on data. Received: an empty sweep")
        return LearningRates(np.array(self.rates), np.array(self.losses), self.width, self.diverged)

    def restore(self) -> None:
        """Put back what the model and its optimizer held when the fit began, unless that was done at its end."""
        for part, value in self._before:
            part.assign(value)

    def on_train_begin(self, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        check_constant(optimizer)
        # A part of the model may be what is fitted (core.fitting): then its metrics are not the model's.
        self._own = self.model.train_function is not None
        if not self._own and keras.config.backend() == "jax":
            raise ValueError(
                "On JAX the finder needs the model's own `fit`, or `lr_find`. Received: a fit of a part of it"
            )
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        variables = [*self.model.variables, *optimizer.variables]
        parts = [part for variable in variables for part in _on_each_device(self.model, variable)]
        # Copied out of the backend's memory: JAX gives its buffers away.
        self._before = [(part, np.array(keras.ops.convert_to_numpy(part))) for part in parts]
        self._batches = -(-batches_a_step(optimizer) // self.model.steps_per_execution)
        self.rates, self.losses, self.diverged, self._seen = [], [], None, []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._mean, self._count = 0.0, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self._seen:
            share = len(self.rates) / (self.steps - 1)
            self._rate = self.low ** (1 - share) * self.high**share
            self.model.optimizer.learning_rate = self._rate
        if self._own:
            self.model.reset_metrics()  # else the loss would be the mean of the epoch so far

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.diverged is not None or len(self.rates) == self.steps:
            return
        self._seen.append(self._loss(batch, logs["loss"]))
        if len(self._seen) < self._batches and math.isfinite(self._seen[-1]):
            return
        loss, self._seen = float(np.mean(self._seen)), []
        if not math.isfinite(loss):
            self.diverged = self._rate
        else:
            self.rates.append(self._rate)
            self.losses.append(loss)
            self.diverged = self._rate if self._too_high() else None
        if self.diverged is not None or len(self.rates) == self.steps:
            self.restore()  # now: a callback that saves the model at the epoch's end must not save the wreck
            self.model.stop_training = True
        if not self.rates:
            raise ValueError(
                "The loss must be a number at the lowest rate; look for NaN in data and weights, or choose a lower `low`. "
                f"Received: loss {loss} at {self.low:g}"
            )

    def on_train_end(self, logs: Any = None) -> None:
        self.restore()  # once more: Keras has just written the optimizer's moving average into the weights, if it has one
        self._before = []

    def _loss(self, batch: int, logged: float) -> float:
        """The loss of the batches since the last call."""
        if self._own:
            return float(logged)
        mean, seen = self._mean, self._count
        self._mean, self._count = float(logged), batch + 1
        return (self._mean * self._count - mean * seen) / (self._count - seen)

    def _too_high(self) -> bool:
        course = smooth(np.array(self.losses), self.width)
        lowest = course.min()
        limit = lowest + (self.stop_factor - 1.0) * abs(lowest)
        return len(course) > self.steps // 10 and course[-1] > max(limit, course[0])


def _on_each_device(model: keras.Model, variable: keras.Variable) -> list[Any]:
    """The copies of a variable: BatchNorm's statistics differ from device to device, and each must get its own back."""
    strategy = getattr(model, "distribute_strategy", None)  # only TensorFlow has it
    return [variable] if strategy is None else list(strategy.experimental_local_results(variable.value))
