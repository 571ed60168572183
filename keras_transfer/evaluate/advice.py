"""What `advise` gives back: a recommendation with its evidence, or why it cannot tell."""

import html
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """A line: what was found and what it means; `kind` says whether it was measured here, or is folklore."""

    topic: str
    text: str
    kind: str = "measured"


@dataclass(frozen=True)
class Advice:
    """A recommended `strategy` (None: cannot tell, see `why`), what to expect of it, and the evidence; prints as text.

    `leaning` is what to take where it cannot tell. `accuracy` is what to expect on new pictures like the training ones,
    (mean, low, high) of a 95 % interval; `measure` says whether accuracy or balanced accuracy. `certainty` is the
    probability that nothing that was weighed is better by more than a point. `seconds` holds the longest that each
    strategy should take on this machine, `warnings` what to look at first, `figures` all that was measured.
    """

    strategy: str | None
    leaning: str
    why: str
    certainty: float
    measure: str
    accuracy: tuple[float, float, float]
    seconds: dict[str, float]
    evidence: list[Evidence]
    warnings: list[Evidence]
    took: float
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def cannot_tell(self) -> bool:
        """Whether the probe saw too little to recommend a strategy."""
        return self.strategy is None

    @property
    def headline(self) -> str:
        """The recommendation in a sentence."""
        if self.strategy is None:
            return f"Cannot tell: {self.why}. To settle it, run `compare`; meanwhile {self.leaning}."
        return f"{self.strategy}: {self.why}."

    def to_dict(self) -> dict[str, Any]:
        """The advice as `keras-transfer advise --json` prints it."""
        mean, low, high = self.accuracy
        return {
            "strategy": self.strategy,
            "cannot_tell": self.cannot_tell,
            "leaning": self.leaning,
            "why": self.why,
            "certainty": self.certainty,
            "expected": {"measure": self.measure, "mean": mean, "low": low, "high": high},
            "seconds": self.seconds,
            "evidence": [vars(line) for line in self.evidence],
            "warnings": [vars(line) for line in self.warnings],
            "took": self.took,
            "figures": self.figures,
        }

    def __str__(self) -> str:
        lines = [self.headline, *self._expectation(), "", "Evidence"]
        lines += [f"  {line.kind:<8}  {line.text}" for line in self.evidence]
        if self.warnings:
            lines += ["", "Look at this first", *(f"  {line.kind:<8}  {line.text}" for line in self.warnings)]
        return "\n".join([*lines, "", *self._times()])

    def _repr_html_(self) -> str:
        body = "".join(_row(line) for line in [*self.warnings, *self.evidence])
        notes = "".join(f"<div>{html.escape(text)}</div>" for text in [*self._expectation(), *self._times()])
        return f"<div><b>{html.escape(self.headline)}</b></div><table><tbody>{body}</tbody></table>{notes}"

    def _expectation(self) -> list[str]:
        mean, low, high = self.accuracy
        told = f"Expected {self.measure} of {self.leaning}: {mean:.3f} ({low:.3f} to {high:.3f})"
        return [f"{told}; {self.certainty:.0%} that nothing weighed here is more than a point better."]

    def _times(self) -> list[str]:
        told = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in self.seconds.items())
        return [f"At most on this machine: {told}.", f"The probe took {_duration(self.took)}."]


def _row(line: Evidence) -> str:
    cells = "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in (line.kind, line.text))
    return f"<tr>{cells}</tr>"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
