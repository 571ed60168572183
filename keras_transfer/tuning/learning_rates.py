"""What a sweep over learning rates found: the losses, the suggestions, and their picture."""

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

BEGUN = 0.1  # the share of the whole fall after which the fall has begun
NOISE = 4.0  # standard deviations of the noise that a fall must exceed: noise alone does so in 4 sweeps of 100


def smooth(losses: np.ndarray, width: float) -> np.ndarray:
    """The mean around each point, weighed by a Gaussian whose standard deviation is `width` points.

    It looks both ways, so it does not lag behind as a running mean would, which moves every suggestion up.
    """
    place = np.arange(len(losses))
    weights = np.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
    return weights @ losses / weights.sum(1)


@dataclass(frozen=True, repr=False)
class LearningRates:
    """A sweep: the loss of a batch at each of the `rates`, its smoothed course, and what both suggest.

    width: the standard deviation of the smoothing, in points. diverged: the rate at which the loss had grown too far or
    was no number; None where the sweep came to its end.

    Example: `kt.tuning.lr_find(model, data).plot()`
    """

    rates: np.ndarray
    losses: np.ndarray
    width: float
    diverged: float | None = None

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The smoothed losses; what lies above the losses at the start counts as one of those, so that the last points
        of a sweep that diverged do not hide the fall before them."""
        level = self.losses[: self._start].max()
        return smooth(np.minimum(self.losses, level), self.width)

    @cached_property
    def way_down(self) -> tuple[int, int] | None:
        """From which point to which the smoothed loss falls; None where it does not, beyond what noise does.

        It ends at the lowest point and begins where it is for the last time less than a tenth of the whole fall below
        its level at the start (the median of the first fifth).
        """
        lowest = int(np.argmin(self.smoothed))
        level = float(np.median(self.smoothed[: self._start]))
        fall = level - self.smoothed[lowest]
        # The noise of a loss from neighbours' differences, by their median so that the fall itself does not count, and
        # what the Gaussian leaves of it.
        noise = np.median(np.abs(np.diff(self.losses[: lowest + 1]))) / (0.6745 * np.sqrt(2)) if lowest else 0.0
        noise /= np.sqrt(2 * np.sqrt(np.pi) * max(self.width, 0.3))
        high = np.flatnonzero(self.smoothed[:lowest] >= level - BEGUN * fall)
        return (int(high[-1]), lowest) if fall > NOISE * noise and len(high) else None

    @property
    def valley(self) -> float | None:
        """Half way down the valley, on the logarithmic axis: the default choice; None where the loss does not fall."""
        if self.way_down is None:
            return None
        begin, lowest = self.way_down
        return float(np.sqrt(self.rates[begin] * self.rates[lowest]))

    @property
    def steepest(self) -> float | None:
        """Where on the way down the loss falls fastest over the logarithm of the rate: often a little bolder."""
        if self.way_down is None:
            return None
        begin, lowest = self.way_down
        slope = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[begin + int(np.argmin(slope[begin : lowest + 1]))])

    @property
    def suggestions(self) -> dict[str, float]:
        """The suggested rates by name; empty where the loss does not fall."""
        found = {"valley": self.valley, "steepest": self.steepest}
        return {name: rate for name, rate in found.items() if rate is not None}

    @property
    def _start(self) -> int:
        return max(len(self.losses) // 5, 1)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {rate:.1e}" for name, rate in self.suggestions.items())
        told = told or "no suggestion, the loss did not fall; try a higher `high`, or more `steps`"
        end = f", diverged at {self.diverged:.1e}" if self.diverged is not None else ""
        sweep = f"{len(self.rates)} rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}{end}"
        return f"Learning rates: {told} ({sweep})"

    __repr__ = __str__  # the arrays would fill the screen

    def plot(self) -> Any:
        """A Matplotlib figure of the loss over the rate, with the suggestions marked."""
        from ..core.plot import Plot

        figure = Plot(figsize=(5.5, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.plot(self.rates, self.losses, color="0.8", label="loss of a batch")
        axis.plot(self.rates, self.smoothed, color="C0", label="smoothed")
        for number, (name, rate) in enumerate(self.suggestions.items(), 1):
            at = float(np.interp(np.log(rate), np.log(self.rates), self.smoothed))
            axis.plot([rate], [at], "o", color=f"C{number}", label=f"{name}: {rate:.1e}")
        low, high = float(self.smoothed.min()), float(self.losses[: self._start].max())
        margin = 0.3 * (high - low) or 1.0  # a loss that explodes would flatten everything else
        axis.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - margin, high + margin))
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
        return figure

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.plot().savefig(buffer, format="png", dpi=100)
        picture = base64.b64encode(buffer.getvalue()).decode()
        return f'<div>{self}</div><img alt="loss over learning rate" src="data:image/png;base64,{picture}">'
