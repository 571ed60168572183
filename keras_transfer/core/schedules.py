"""Learning-rate schedules that Keras does not have: warm-up and decay, slanted triangular, one-cycle; in steps or epochs."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from .numbers import count, number
from .rate_schedule import RateSchedule
from .registry import get, register


@register("warmup_linear", kind="schedule")
class WarmupLinear(RateSchedule):
    """Linear warm-up from 0 to `peak`, then linearly down to `end`.

    Devlin et al. 2019, BERT (arXiv:1810.04805). With s the share done of each part: `peak s`, then
    `peak + (end - peak) s`. Length, `accumulation` and `warmup` as in `RateSchedule`.

    Example: `keras.optimizers.AdamW(WarmupLinear(5e-5, epochs=3, steps_per_epoch=100))`
    """

    def __init__(self, peak: float, steps: int | None = None, *, warmup: float = 0.1, end: float = 0.0, **length: Any):
        super().__init__(peak, steps, warmup=warmup, **length)
        self.end = number("end", end, least=0.0, most=self.peak)

    def fall(self, share: Any) -> Any:
        return self.peak * (1.0 - share) + self.end * share

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "end": self.end}


@register("warmup_cosine", kind="schedule")
class WarmupCosine(RateSchedule):
    """Linear warm-up from 0 to `peak`, then half a cosine down to `end`.

    Loshchilov & Hutter 2017, SGDR (arXiv:1608.03983); the warm-up is Goyal et al. 2017 (arXiv:1706.02677). With s the
    share done of each part: `peak s`, then `end + (peak - end) (1 + cos(pi s)) / 2`. Keras' `CosineDecay` has the same
    shape, but neither lengths in epochs nor accumulation, and its `decay_steps` leave the warm-up out.

    Example: `keras.optimizers.Adam(WarmupCosine(1e-4, 1000, warmup=0.05))`
    """

    def __init__(self, peak: float, steps: int | None = None, *, warmup: float = 0.1, end: float = 0.0, **length: Any):
        super().__init__(peak, steps, warmup=warmup, **length)
        self.end = number("end", end, least=0.0, most=self.peak)

    def fall(self, share: Any) -> Any:
        return _half_cosine(self.peak, self.end, share)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "end": self.end}


@register("slanted_triangular", kind="schedule")
class SlantedTriangular(RateSchedule):
    """A short linear rise from `peak / ratio` to `peak`, then a long linear fall back to it.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146), equation 3; their `cut_frac` is our `warmup`. With T steps and
    `cut = floor(T cut_frac)`: `p = t / cut` for t < cut, else `1 - (t - cut) / (cut (1 / cut_frac - 1))`, and the rate
    is `peak (1 + p (ratio - 1)) / ratio`. Where `T cut_frac` is not whole, p falls below 0 before the end; it is held
    at 0. There must be a step to rise in: T cut_frac >= 1.

    Example: `keras.optimizers.Adam(SlantedTriangular(1e-3, epochs=10, steps_per_epoch=100))`
    """

    def __init__(
        self, peak: float, steps: int | None = None, *, warmup: float = 0.1, ratio: float = 32.0, **length: Any
    ):
        super().__init__(peak, steps, warmup=warmup, **length)
        self.ratio = number("ratio", ratio, least=1.0)
        if not self.rising:
            raise ValueError(
                "A slanted triangle needs a step to rise in: the length times `warmup` must be at least 1. "
                f"Received: {self.length} steps, warmup={self.warmup!r}"
            )
        self.falling = self.rising * (1.0 / self.warmup - 1.0)

    def rise(self, share: Any) -> Any:
        return self.peak * (1.0 + share * (self.ratio - 1.0)) / self.ratio

    def fall(self, share: Any) -> Any:
        return self.rise(1.0 - share)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


@register("one_cycle", kind="schedule")
class OneCycle(RateSchedule):
    """Half a cosine from `peak / div` up to `peak`, then half a cosine down to `peak / div_final`.

    Smith & Topin 2018, Super-Convergence (arXiv:1708.07120), with the cosines, the quarter of warm-up and the two
    divisors of fastai. With s the share done of each part, from a to b: `a + (b - a) (1 - cos(pi s)) / 2`. Only the
    rate is cycled; the momentum stays what the optimizer was given (the paper moves it against the rate).

    Example: `keras.optimizers.Adam(OneCycle(1e-3, epochs=5, steps_per_epoch=100))`
    """

    def __init__(
        self,
        peak: float,
        steps: int | None = None,
        *,
        warmup: float = 0.25,
        div: float = 25.0,
        div_final: float = 1e5,
        **length: Any,
    ) -> None:
        super().__init__(peak, steps, warmup=warmup, **length)
        self.div = number("div", div, least=1.0)
        self.div_final = number("div_final", div_final, least=1.0)

    def rise(self, share: Any) -> Any:
        return _half_cosine(self.peak / self.div, self.peak, share)

    def fall(self, share: Any) -> Any:
        return _half_cosine(self.peak, self.peak / self.div_final, share)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "div": self.div, "div_final": self.div_final}


@register("cosine", kind="schedule")
def cosine(peak: float, steps: int | None = None, **settings: Any) -> WarmupCosine:
    """`WarmupCosine` without its warm-up: half a cosine from `peak` down to `end` (arXiv:1608.03983)."""
    return WarmupCosine(peak, steps, **{"warmup": 0.0, **settings})


@register("constant", kind="schedule")
def constant(peak: float, steps: int | None = None, **length: Any) -> float:
    """The rate itself, for every step."""
    return number("peak", peak, above=0.0)


def scheduled(
    schedule: str | Callable[..., Any], peak: float, epochs: int, steps_per_epoch: int, accumulation: int = 1
) -> Any:
    """What an optimizer takes as `learning_rate`: a schedule of that length, or the number where it is "constant".

    schedule: a name ("constant", "warmup_linear", "warmup_cosine", "cosine", "slanted_triangular", "one_cycle"), a
    schedule, which comes back as it is, or what makes one: a class above, or a `functools.partial` of it.

    Example: `keras.optimizers.Adam(scheduled("one_cycle", 1e-3, epochs=5, steps_per_epoch=100))`
    """
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    if not isinstance(schedule, str) and not callable(schedule):
        raise TypeError(f"`schedule` must be a name, a schedule, or a class of one. Received: {schedule!r}")
    make = get("schedule", schedule) if isinstance(schedule, str) else schedule
    return make(peak, epochs=epochs, steps_per_epoch=steps_per_epoch, accumulation=accumulation)


def plot_schedule(schedule: keras.optimizers.schedules.LearningRateSchedule, batches: int | None = None) -> Any:
    """A Matplotlib figure of the rate at every batch; `batches` is needed for a schedule that is none of these.

    Example: `plot_schedule(OneCycle(1e-3, 500))`
    """
    if batches is None and not isinstance(schedule, RateSchedule):
        raise ValueError(f"This schedule does not say how long it is; pass `batches`. Received: {schedule!r}")
    from .plot import Plot

    last = schedule.length * schedule.accumulation if batches is None else count("batches", batches)
    figure = Plot(figsize=(5, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(ops.convert_to_numpy(ops.stack([schedule(batch) for batch in range(last + 1)])))
    axis.set(xlabel="batch", ylabel="learning rate", title=type(schedule).__name__)
    return figure


def _half_cosine(start: float, end: float, share: Any) -> Any:
    # Both ends weighed, not their difference added: so each is met exactly in float32.
    weight = (1.0 + ops.cos(math.pi * share)) / 2.0
    return start * weight + end * (1.0 - weight)
