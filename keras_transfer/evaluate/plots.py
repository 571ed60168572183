"""Figures for a notebook: the curves of a fit, the confusion matrix, pictures with their answers; without pyplot."""

import heapq
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from ..core.plot import Plot, plain
from ..export.heldout import check_pictures, held_out
from ..export.inference import inference_model, predict_batch
from .charts import stage_names
from .metrics import BATCH, Report, class_indices


def plot_history(history: Any) -> Figure:
    """Loss and accuracy by epoch, training and validation; the kept epoch and the stages marked where the history has them.

    history: what `fit` returned, its `.history`, or the content of a run's `history.json`.

    Example: `kt.plot_history(kt.tuning.full(model, data, epochs=5))`
    """
    curves = dict(getattr(history, "history", history))
    best, stages = curves.pop("best_epoch", None), curves.pop("stages", None)
    if best is None and getattr(history, "best_epoch", None) is not None:
        best = history.best_epoch + 1
    if stages is None:  # a History counts its epochs from 0
        stages = [{**one, "first_epoch": one["first_epoch"] + 1} for one in getattr(history, "stages", ())]
    epochs = curves.pop("epoch", None) or range(1, 1 + max((len(values) for values in curves.values()), default=0))
    panels = [name for name in ("loss", "accuracy") if name in curves or f"val_{name}" in curves]
    if not panels:
        raise ValueError(f"A history to plot has `loss` or `accuracy`. Received: {sorted(curves)}")
    figure = Plot(figsize=(5 * len(panels), 3.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in curves:
                axis.plot(list(epochs), curves[key], label=label, marker="o", markersize=3)
        if best is not None:
            axis.axvline(best, color="0.5", linestyle=":", label=f"kept: epoch {best}")
        rows = _mark_stages(axis, stages, max(epochs, default=0))
        axis.set_title(name, pad=6 + 10 * rows)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    return figure


def _mark_stages(axis: Any, stages: Sequence[dict[str, Any]], last: int) -> int:
    """A thin line where each later stage begins, the names above the curves; the lines of text that they take."""
    low, high = axis.get_xlim()
    names = stage_names(stages, last, lambda epoch: (epoch - low) / (high - low), letter=0.014)
    for one in names:
        if one["line"]:
            axis.axvline(one["start"], color="0.75", linewidth=0.8, zorder=0)
        place = {"xycoords": "axes fraction", "xytext": (2, 2 + 10 * one["row"]), "textcoords": "offset points"}
        axis.annotate(plain(one["name"]), (one["left"], 1), fontsize=8, color="0.4", **place)
    return 1 + max(one["row"] for one in names) if names else 0


def plot_confusion(report: Report) -> Figure:
    """The confusion matrix: a row a true class, a column a predicted one, coloured by the share of the row.

    Example: `kt.evaluate.plot_confusion(kt.evaluate(model, data))`
    """
    counts, names = report.confusion, report.class_names
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.2 + 0.45 * len(names)
    figure = Plot(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    drawn = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), [plain(name) for name in names], rotation=90 if len(names) > 4 else 0)
    axis.set_yticks(range(len(names)), [plain(name) for name in names])
    axis.set(xlabel="predicted", ylabel="true")
    if len(names) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=shade)
    figure.colorbar(drawn, label="share of the true class", shrink=0.8)
    return figure


def show_predictions(model: keras.Model, data: Any, count: int = 12, wrong_first: bool = True) -> Figure:
    """Pictures with the true class, the predicted one and its probability.

    wrong_first: the most confident mistakes first, then right answers from the least confident on; else the first
    pictures in order. data: as for `evaluate`; class names are those of the data, or numbers.

    Example: `kt.show_predictions(model, data)`
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: {count!r}")
    inference, pictures = inference_model(model), held_out(data)
    if not pictures.labelled:
        raise ValueError("Showing right and wrong answers needs labels: pass (x, y). Received: pictures alone")
    classes = inference.output_shape[-1]
    names = pictures.class_names or [str(index) for index in range(classes)]
    kept: list[tuple[float, int, np.ndarray, int, int, float]] = []
    number = 0
    for x, y in pictures.batches(BATCH):
        check_pictures(inference, x)
        probabilities = predict_batch(inference, x, BATCH)
        for picture, target, row in zip(x, class_indices(y, classes), probabilities, strict=True):
            best = int(row.argmax())
            wrong = best != target
            rank = (1 + row[best] if wrong else 1 - row[best]) if wrong_first else -number
            # Equal ranks keep the order of the pictures; the number also keeps arrays from being compared.
            item = (float(rank), -number, picture, int(target), best, float(row[best]))
            (heapq.heappush if len(kept) < count else heapq.heappushpop)(kept, item)
            number += 1
        if number >= count and not wrong_first:
            break
    return _gallery(sorted(kept, key=lambda item: item[:2], reverse=True), names)


def _gallery(items: list[Any], names: Any) -> Figure:
    columns = min(4, len(items))
    rows = -(-len(items) // columns)
    figure = Plot(figsize=(2.5 * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (_, _, picture, target, best, confidence) in zip(axes, items, strict=False):
        pixels = np.rint(np.clip(picture, 0, 255)).astype("uint8")
        axis.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        told = f"{plain(names[best])} {confidence:.2f}"
        title = told if best == target else f"{told}\ntruly {plain(names[target])}"
        axis.set_title(title, fontsize=9, color="black" if best == target else "firebrick")
    return figure
