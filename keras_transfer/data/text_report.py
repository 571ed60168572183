"""How long texts are in tokens, and how many are cut: what is lost by a `max_length`."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

SHARES = (50, 75, 90, 95, 99, 100)


@dataclass(frozen=True)
class LengthReport:
    """The lengths of texts in tokens, special ones counted, before they are cut; prints as a line a split.

    `rows` maps a split to its `texts`, how many are `cut`, the `lost` share of all tokens, and `percentiles` of the
    length.
    """

    max_length: int
    rows: dict[str, dict[str, Any]]

    @property
    def cut(self) -> int:
        """How many texts are cut, of all splits."""
        return sum(row["cut"] for row in self.rows.values())

    def __str__(self) -> str:
        return "\n".join([f"cut at {self.max_length} tokens", *(self._line(split) for split in self.rows)])

    def _repr_html_(self) -> str:
        return "".join(f"<div>{escape(line)}</div>" for line in str(self).split("\n"))

    def _line(self, split: str) -> str:
        row = self.rows[split]
        lengths = ", ".join(f"{share} %: {length}" for share, length in row["percentiles"].items())
        return (
            f"{split}: {row['cut']:,} of {row['texts']:,} texts cut ({row['lost']:.1%} of all tokens); length {lengths}"
        )


def length_report(whole: dict[str, np.ndarray], max_length: int) -> LengthReport:
    """The report on the lengths (n,) of each split."""
    rows = {}
    for split, lengths in whole.items():
        over = np.maximum(lengths - max_length, 0)
        rows[split] = {
            "texts": len(lengths),
            "cut": int((over > 0).sum()),
            "lost": float(over.sum() / max(lengths.sum(), 1)),
            "percentiles": {share: round(float(np.percentile(lengths, share))) for share in SHARES},
        }
    return LengthReport(max_length, rows)
