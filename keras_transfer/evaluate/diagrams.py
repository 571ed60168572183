"""Figures of how sure a model is and of what a training moved: the reliability diagram, the blocks of each stage."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..core.plot import Plot, plain
from .block_strips import STATES, stages_of, strips
from .metrics import Report

COLOURS = {"frozen": "0.8", "fine-tuned": "tab:blue", "trained": "tab:orange"}


def plot_calibration(report: Report) -> Figure:
    """The reliability diagram: accuracy by confidence in 15 bins, and below it how many answers each bin holds.

    Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599). Bars below the diagonal are of answers
    that are too sure; the title has the expected calibration error.

    Example: `kt.evaluate.plot_calibration(kt.evaluate(model, data))`
    """
    rows = report.reliability
    edges, width = [row.low for row in rows], rows[0].high - rows[0].low
    figure = Plot(figsize=(4.2, 4.8), layout="constrained")
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    diagram.bar(edges, [row.accuracy or 0 for row in rows], width, align="edge", edgecolor="white", label="accuracy")
    gaps = [(row.confidence or 0) - (row.accuracy or 0) for row in rows]
    for gap, colour, label in ((1, "tab:red", "too sure"), (-1, "tab:green", "not sure enough")):
        shown = [max(0.0, gap * value) for value in gaps]
        bottom = [min(row.confidence or 0, row.accuracy or 0) for row in rows]
        diagram.bar(edges, shown, width, bottom, align="edge", color=colour, alpha=0.4, edgecolor=colour, label=label)
    diagram.plot([0, 1], [0, 1], color="0.4", linestyle=":", label="calibrated")
    diagram.set(ylim=(0, 1), xlim=(0, 1), ylabel="accuracy")
    diagram.set_title(f"expected calibration error {report.expected_calibration_error:.3f}")
    diagram.legend(frameon=False, loc="upper left")
    counts.bar(edges, [row.count for row in rows], width, align="edge", color="0.6", edgecolor="white")
    counts.set(xlabel="confidence", ylabel="answers")
    for axis in (diagram, counts):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_strategies(history: Any) -> Figure:
    """A strip a stage, a bar a block from the pixels to the head: frozen, fine-tuned or trained new, as high as its rate.

    The height is the learning rate on a logarithmic scale that the stages share. history: what a strategy of ours
    returned, or the content of a run's `history.json`. Raises `ValueError` for a history whose stages do not say what
    they did with the blocks.

    Example: `kt.evaluate.plot_strategies(kt.fine_tune(model, data))`
    """
    stages = stages_of(history)
    if not stages:
        given = sorted(history) if isinstance(history, dict) else type(history).__name__
        raise ValueError(f"A history to plot has stages with `blocks`, as our strategies return. Received: {given}")
    drawn = strips(stages)
    figure = Plot(figsize=(7, 0.7 + 1.1 * len(drawn)), layout="constrained")
    for axis, strip in zip(figure.subplots(len(drawn), 1, squeeze=False)[:, 0], drawn, strict=True):
        cells = strip["cells"]
        colours = [COLOURS[cell["state"]] for cell in cells]
        axis.bar(range(len(cells)), [cell["height"] for cell in cells], 0.85, color=colours)
        axis.set(ylim=(0, 1.05), xlim=(-0.6, len(cells) - 0.4), xticks=[], yticks=[])
        axis.set_title(f"{plain(strip['name'])}, {strip['epochs']} epochs", loc="left", fontsize=10)
        axis.set_xlabel(plain(strip["told"]), fontsize=8, color="0.4", loc="left", wrap=True)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(
        handles=[Patch(color=COLOURS[state], label=label) for state, label in STATES.items()],
        loc="outside lower left", ncols=3, frameon=False, fontsize=8,
    )  # fmt: skip
    return figure
