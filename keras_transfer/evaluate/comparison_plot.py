"""The picture of a comparison: what accuracy costs in time, and which rows nothing beats in both."""

from typing import TYPE_CHECKING, Any

from ..core.plot import Plot
from .comparison import Comparison, pareto
from .plots import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(comparison: Comparison) -> "Figure":
    """Accuracy (mean ± standard deviation over seeds) against seconds, on a logarithmic axis."""
    figure = Plot(figsize=(7.0, 4.4), layout="constrained")
    axis = figure.subplots()
    front = pareto(comparison.rows)
    several = len({row["backbone"] for row in comparison.rows}) > 1
    axis.plot(
        [_x(row) for row in front], [row["accuracy"] for row in front], color="0.7", zorder=1, label="Pareto front"
    )
    for row in comparison.rows:
        on_front = any(row is one for one in front)
        colour = "tab:blue" if on_front else "0.55"
        axis.errorbar(_x(row), row["accuracy"], yerr=row["spread"] or None, fmt="o", color=colour, capsize=2, zorder=2)
        name = f"{row['backbone']}, {row['strategy']}" if several else row["strategy"]
        axis.annotate(plain(name), (_x(row), row["accuracy"]), xytext=(6, 4), textcoords="offset points", fontsize=9)
    axis.set_xscale("log")
    axis.set(
        xlabel="seconds to train, by itself", ylabel=f"accuracy on {comparison.pictures} {comparison.split} pictures"
    )
    axis.set_title(plain(comparison.title), fontsize=10)
    axis.margins(x=0.15, y=0.12)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    return figure


def _x(row: dict[str, Any]) -> float:
    """A logarithmic axis has no zero."""
    return max(row["seconds"], 0.01)
