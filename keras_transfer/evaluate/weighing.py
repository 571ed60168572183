"""From figures to a recommendation: what was measured is weighed against what was known before, and doubts are counted."""

import math
from dataclasses import dataclass

from .thresholds import NEAREST, TUNED, Prior, prior, value

CHEAP = ("nearest_mean", "linear_probe")


@dataclass(frozen=True)
class Guess:
    """A number that is known as far as `deviation`."""

    mean: float
    deviation: float

    def above(self, limit: float) -> float:
        """The probability that it is more than `limit`, by the normal distribution."""
        return 0.5 * math.erfc((limit - self.mean) / (max(self.deviation, 1e-9) * math.sqrt(2)))


@dataclass(frozen=True)
class Figures:
    """What the probe measured: scores are accuracy, or balanced accuracy where classes are uneven.

    `linear` is the linear probe's score; `nearest` and `tuned` are the differences to it of the nearest mean and of the
    pilot of fine-tuning (None: none was run), `random` that of the same probe on an untrained network's features.
    """

    classes: int
    labels_a_class: float
    smallest: int
    signal: float
    linear: Guess
    nearest: Guess
    tuned: Guess | None = None
    random: Guess | None = None


@dataclass(frozen=True)
class Verdict:
    """`strategy`, or None where the figures cannot tell, with `why`; `leaning` is what to take all the same."""

    strategy: str | None
    leaning: str
    certainty: float
    expected: Guess
    gain: Guess
    why: str


def weigh(before: Prior, measured: Guess | None) -> Guess:
    """Prior and measurement as one: the mean of two normal distributions weighted by `1 / deviation^2` (Bayes)."""
    if measured is None:
        return Guess(before.mean, before.deviation)
    known, seen = 1 / before.deviation**2, 1 / max(measured.deviation, 1e-9) ** 2
    return Guess((known * before.mean + seen * measured.mean) / (known + seen), math.sqrt(1 / (known + seen)))


def decide(figures: Figures, tuned: str = "layerwise") -> Verdict:
    """The cheapest strategy that is not expected to lose more than `margin`, or why that cannot be told.

    `tuned` names the strategy that stands for fine-tuning. The gains over the linear probe are weighed against their
    priors (`thresholds`); fine-tuning is recommended where a pilot was run and the expected gain over the better closed form
    exceeds the margin. `certainty` is the probability that the other one is not better by more than the margin.
    """
    margin = value("margin")
    nearest = weigh(prior(NEAREST, figures.labels_a_class), figures.nearest)
    base = "nearest_mean" if nearest.mean > 0 else "linear_probe"
    over = max(nearest.mean, 0.0)
    tuning = weigh(prior(TUNED, figures.labels_a_class), figures.tuned)
    gain = Guess(tuning.mean - over, tuning.deviation)
    cheap = Guess(figures.linear.mean + over, figures.linear.deviation)
    chosen, certainty = base, 1 - gain.above(margin)
    expected = cheap
    if gain.mean > margin:
        chosen, certainty = tuned, gain.above(-margin)
        expected = Guess(min(cheap.mean + gain.mean, 1.0), math.hypot(cheap.deviation, gain.deviation))

    def verdict(strategy: str | None, why: str) -> Verdict:
        return Verdict(strategy, chosen, certainty, expected, gain, why)

    if figures.smallest < value("fewest"):
        return verdict(None, f"the smallest class has {figures.smallest} pictures, too few to hold some out")
    if figures.signal > value("signal"):
        return verdict(None, "the features tell the labels apart no better than shuffled labels")
    if figures.random is not None and -figures.random.mean < value("random"):
        if figures.labels_a_class >= value("scratch"):
            why = "the pretrained weights do not help here (what is expected is what they reach)"
            return Verdict("scratch", "scratch", certainty, expected, gain, why)
        return verdict(None, "the pretrained features do no better than those of an untrained network")
    if figures.linear.mean >= value("ceiling"):
        return Verdict("linear_probe", "linear_probe", 1.0, figures.linear, gain, "nothing is left to gain")
    if chosen == tuned and figures.tuned is None:
        return verdict(None, f"no pilot of fine-tuning fitted into the time; on other data it gained {_points(gain)}")
    if certainty < value("certainty"):
        pair = f"{base} and fine-tuning ({tuned})"
        return verdict(None, f"{pair} are closer than so few pictures can tell: {_points(gain)}")
    if chosen == tuned:
        return verdict(chosen, f"fine-tuning gains {_points(gain)} over {base}")
    return verdict(chosen, f"fine-tuning gains {_points(gain)} over it, not worth its time")


def _points(gain: Guess) -> str:
    return f"{100 * gain.mean:+.1f} ± {100 * gain.deviation:.1f} points"
