"""The precisions that `compress_to` tried, as a table, and which of them fits best."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .certificate import Certificate
from .sizes import in_bytes

COLUMNS = ("precision", "bytes", "accuracy", "drop", "agreement", "ms", "result")


@dataclass(frozen=True)
class Ladder:
    """What was tried, step by step, and which step was kept; prints as a table, in Jupyter as HTML.

    `certificates` has one for each precision, `path` is the file that was kept, `chosen` its certificate; both are None
    where no step fits `size` (bytes) and `accuracy_drop`.
    """

    certificates: tuple[Certificate, ...]
    size: int | None
    accuracy_drop: float | None
    path: Path | None = None

    @property
    def chosen(self) -> Certificate | None:
        """The most accurate step that fits, of equal ones the fastest, then the smallest."""
        fits = [one for one in self.certificates if not self.against(one)]
        return min(fits, key=lambda one: (_drop(one), _milliseconds(one), one.bytes), default=None)

    def against(self, one: Certificate) -> str:
        """Why a step does not fit, in words; empty where it does."""
        reasons = [] if one.passed else [f"failed: {one.reason}"]
        if self.size is not None and one.bytes > self.size:
            reasons.append(f"larger than {in_bytes(self.size)}")
        if self.accuracy_drop is not None and one.passed and _drop(one) > self.accuracy_drop + 1e-9:
            reasons.append(f"accuracy falls by more than {self.accuracy_drop:g}")
        return "; ".join(reasons)

    def rows(self) -> list[dict[str, Any]]:
        """One row a step: precision, bytes, accuracy, drop, agreement, ms (a picture on one thread), result."""
        chosen = self.chosen
        return [
            {
                "precision": one.precision,
                "bytes": one.bytes,
                "accuracy": one.accuracy_after,
                "drop": None if one.accuracy_after is None else _drop(one),
                "agreement": one.top1_agreement,
                "ms": one.latency_ms["1"] if one.latency_ms else None,
                "result": self.against(one) or ("kept" if one is chosen else "fits"),
            }
            for one in self.certificates
        ]

    def to_dict(self) -> dict[str, Any]:
        """The rows and the bounds, as JSON takes them."""
        chosen = self.chosen
        return {
            "size": self.size,
            "accuracy_drop": self.accuracy_drop,
            "chosen": chosen.precision if chosen else None,
            "path": str(self.path) if self.path else None,
            "tried": self.rows(),
        }

    def __str__(self) -> str:
        table = [COLUMNS, *(tuple(_cell(name, row[name]) for name in COLUMNS) for row in self.rows())]
        widths = [max(len(row[place]) for row in table) for place in range(len(COLUMNS))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join([*lines, f"kept: {self.path}" if self.path else "none was kept"])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(name, row[name]))}</td>" for name in COLUMNS) + "</tr>"
            for row in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


class CompressionError(RuntimeError):
    """No step of the ladder fits; `.ladder` holds what was tried, and no file was written."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        asked = [f"at most {in_bytes(ladder.size)}"] if ladder.size is not None else []
        asked += [f"accuracy down by at most {ladder.accuracy_drop:g}"] if ladder.accuracy_drop is not None else []
        super().__init__(
            f"No precision gives a file that fits ({', '.join(asked) or 'its certificate'}); allow more, or take a "
            f"smaller backbone or picture. Tried:\n{ladder}"
        )


def _drop(one: Certificate) -> float:
    return (one.accuracy_before or 0.0) - (one.accuracy_after or 0.0)


def _milliseconds(one: Certificate) -> float:
    return one.latency_ms["1"] if one.latency_ms else float("inf")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "bytes":
        return in_bytes(value)
    if isinstance(value, float):
        return f"{value:.3g}" if name == "ms" else f"{value:.4f}"
    return str(value)
