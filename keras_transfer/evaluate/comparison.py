"""What a comparison of strategies gives back: its rows as a table, JSON and a picture of what accuracy costs."""

import html
import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("strategy", "accuracy", "seconds", "trainable", "file", "latency")


@dataclass(frozen=True)
class Comparison:
    """Strategies side by side on the same split and seeds; prints as a table, in Jupyter as HTML.

    `rows` holds a dict a strategy (and backbone), the most accurate first: `accuracy`, the mean over the seeds, with
    `spread` (sample standard deviation over seeds), `seconds` that a training takes by itself, `trainable` parameters,
    `bytes` and `latency_ms` of its float32 file and `unproven`, why that failed its certificate (None: it did not), `took`,
    the seconds of the whole row, and `shared`, those that features of another row saved it, `correct` (for each held-out
    picture, how many seeds were right, in hexadecimal), and `tied`: whether its distance to the best row is below two
    standard errors. `split` and `pictures` say what judged.
    """

    rows: list[dict[str, Any]]
    split: str
    pictures: int
    seconds: float
    title: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, Any]:
        """The row with the highest accuracy; of equal ones the quicker."""
        return self.rows[0]

    @property
    def alone(self) -> float:
        """The seconds that the rows would take one by one, each computing its frozen features itself."""
        return sum(row.get("took", 0.0) + row.get("shared", 0.0) for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as `comparison.json` holds it."""
        told = {"title": self.title, "split": self.split, "pictures": self.pictures}
        return {
            **told,
            "seconds": self.seconds,
            "seconds_alone": self.alone,
            "settings": self.settings,
            "rows": self.rows,
        }

    def plot(self) -> "Figure":
        """Accuracy against the seconds it takes; the rows that no other beats in both are joined.

        Example: `comparison.plot()`
        """
        from .comparison_plot import plot

        return plot(self)

    def __str__(self) -> str:
        table = [_cells(row, self._several) for row in self.rows]
        head = _head(self._several)
        widths = [max(len(line[i]) for line in [head, *table]) for i in range(len(head))]
        lines = [_line(head, widths)] + [_line(cells, widths) for cells in table]
        return "\n".join([*([self.title] if self.title else []), *lines, *self._notes()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in _head(self._several))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row, self._several)) + "</tr>"
            for row in self.rows
        )
        below = "".join(f"<div>{html.escape(note)}</div>" for note in self._notes())
        above = f"<div>{html.escape(self.title)}</div>" if self.title else ""
        return f"{above}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"

    @property
    def _several(self) -> bool:
        return len({row["backbone"] for row in self.rows}) > 1

    def _notes(self) -> list[str]:
        judged = f"Judged on {self.pictures} {self.split} pictures"
        if self.split == "validation":
            judged += ", which chose nothing: every epoch was run and the last kept"
        notes = [
            f"{judged}. Mean over seeds ± standard deviation; * = no further from the best than two standard errors."
        ]
        if any(row["runs"] == 1 for row in self.rows) and any(row["runs"] > 1 for row in self.rows):
            notes.append("One run: the row has no randomness.")
        for row in self.rows:
            if row.get("unproven"):
                notes.append(f"The file of {row['strategy']} failed its certificate: {row['unproven']}")
        notes.append(f"It took {self.seconds:.0f} s; the rows one by one would take {self.alone:.0f} s.")
        return notes


def make_row(
    backbone: str, strategy: str, runs: list[dict[str, Any]], exported: dict[str, Any] | None
) -> dict[str, Any]:
    """One row from its runs, `{"correct": bools, "seconds", "shared", "trainable"}` a seed, and what its file turned out to be."""
    accuracies = [float(np.mean(run["correct"])) for run in runs]
    return {
        "backbone": backbone,
        "strategy": strategy,
        "accuracy": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(runs) > 1 else 0.0,
        "accuracies": accuracies,
        "runs": len(runs),
        "seconds": statistics.mean(run["seconds"] for run in runs),
        "shared": sum(run["shared"] for run in runs),
        "trainable": runs[-1]["trainable"],
        **(exported or {"bytes": None, "latency_ms": None, "unproven": None}),
        # for each picture how many runs were right, two hexadecimal digits a picture
        "correct": np.sum([run["correct"] for run in runs], axis=0).astype("uint8").tobytes().hex(),
    }


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, best first, each with `standard_error` of its distance to the best row, and `tied`."""
    ordered = sorted(rows, key=lambda row: (-row["accuracy"], row["seconds"]))
    found = []
    for row in ordered:
        error = standard_error(ordered[0], row)
        behind = ordered[0]["accuracy"] - row["accuracy"]
        found.append({**row, "behind": behind, "standard_error": error, "tied": behind <= 2 * error})
    return found


def standard_error(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The standard error of the difference of two rows' accuracies, over the pictures (paired) and over the seeds.

    `sqrt(var_i(d_i) / n + s_a^2 / a + s_b^2 / b)`: d_i the difference on picture i of the shares of seeds that were
    right, n pictures; s the spread over a (b) runs. 0 for a row and itself.
    """
    if one is other:
        return 0.0
    shares = [np.frombuffer(bytes.fromhex(row["correct"]), "uint8") / row["runs"] for row in (one, other)]
    difference = shares[0] - shares[1]
    pictures = float(np.var(difference, ddof=1)) / len(difference) if len(difference) > 1 else 0.0
    return math.sqrt(pictures + sum(row["spread"] ** 2 / row["runs"] for row in (one, other)))


def pareto(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that no other row beats in accuracy without taking more seconds, from the quickest on."""
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["seconds"], -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front


def read_comparison(path: str | Path) -> Comparison:
    """The comparison that a `comparison.json` holds."""
    found = json.loads(Path(path).read_text("utf-8"))
    names = ("rows", "split", "pictures", "seconds", "title", "settings")
    return Comparison(**{name: found[name] for name in names})


def _head(several: bool) -> list[str]:
    return [*(["backbone"] if several else []), *COLUMNS]


def _cells(row: dict[str, Any], several: bool) -> list[str]:
    spread = f" ± {row['spread']:.3f}" if row["runs"] > 1 else " " * 8
    size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.2f} MB"
    latency = "-" if row["latency_ms"] is None else f"{row['latency_ms']:.3g} ms"
    named = [row["backbone"]] if several else []
    accuracy = f"{row['accuracy']:.3f}{spread}{'*' if row['tied'] else ' '}"
    return [*named, row["strategy"], accuracy, f"{row['seconds']:.1f}", f"{row['trainable']:,}", size, latency]


def _line(cells: list[str], widths: list[int]) -> str:
    left = len(cells) - len(COLUMNS) + 1
    aligned = [
        cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
