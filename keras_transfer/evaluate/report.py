"""`report.html`: what a run did, on one page: no network, no script, light or dark, for a phone or a desk."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_write
from .block_strips import stages_of, strips, table
from .calibration import calibrated_error
from .certificate_rows import certificate_rows
from .charts import HEIGHT, LEFT, RIGHT, WIDTH, chart, reliability_chart
from .findings import findings
from .metrics import Report
from .mistakes import most_confident
from .predictions import read_predictions

NAME, CLOSED_FORM = "report.html", "closed form"
PAIRS = 12  # of classes that are confused most
MATRIX = 25  # classes; beyond, the matrix gives way to the pairs that are confused most


def write_report(run: str | Path, samples: Callable[[int], np.ndarray | str | None] | None = None) -> Path:
    """Read the files of a run folder and write its `report.html`, one self-contained page.

    samples: gives the uint8 picture (height, width, channels) of a line of `predictions.csv`, counted from 0, its text, or
    None; without it the most confident mistakes are listed by name. Needs `metrics.json`, `predictions.csv` and `labels.txt`;
    `history.json`, `certificate.json`, `scan.json` and `config.yaml` are shown where they are. Raises `ValueError` where a needed
    file is missing or the files are not of one run.

    Example: `kt.write_report("saved_models/ants")`
    """
    import jinja2

    run = Path(run)
    context = _context(run, samples)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(context)
    return atomic_write(run / NAME, page.encode("utf-8", "backslashreplace"))


def _context(run: Path, samples: Callable[[int], np.ndarray | str | None] | None) -> dict[str, Any]:
    missing = [name for name in ("metrics.json", "predictions.csv", "labels.txt") if not (run / name).is_file()]
    if missing:
        raise ValueError(f"A run to report on has {', '.join(missing)}. Received: {str(run)!r} without")
    metrics = _read(run / "metrics.json")
    split = next((name for name in ("test", "validation") if isinstance(metrics.get(name), dict)), None)
    if split is None:
        raise ValueError(f"metrics.json must have `validation` or `test`. Received: {sorted(metrics)}")
    report = read_predictions(run / "predictions.csv", split)
    if list(report.class_names) != (run / "labels.txt").read_text("utf-8").removesuffix("\n").split("\n"):
        raise ValueError(f"labels.txt and predictions.csv must name the same classes. Received: those in {str(run)!r}")
    mistakes = most_confident(report, samples)
    history, config = _read(run / "history.json"), _config(run / "config.yaml")
    settings = dict(config)
    return {
        "title": run.resolve().name.removeprefix(".").removesuffix(".partial"),
        "split": split,
        "metrics": metrics,
        "report": report,
        "interval": wilson(metrics[split]["accuracy"], len(report.targets)),
        "closed_form": _closed_form(history),
        "charts": [] if _closed_form(history) else _charts(history),
        "box": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT},
        "epochs": len(history.get("epoch", [])),
        "best_epoch": history.get("best_epoch"),
        "last_epoch": metrics.get("last_epoch"),
        "stages": _stages(history),
        "strips": strips(stages_of(history)),
        "blocks": table(stages_of(history)),
        "calibration": _calibration(report),
        "two": report.two_classes,
        "negative": report.class_names[0],
        "matrix": _matrix(report) if len(report.class_names) <= MATRIX else None,
        "pairs": _pairs(report),
        "mistakes": mistakes,
        "tiny": any((one["picture"] or "").startswith("data:image/png") for one in mistakes),
        "wrong": int((report.predicted != report.targets).sum()),
        "certificates": certificate_rows(_read(run / "certificate.json")),
        "scan": findings(_read(run / "scan.json")),
        "seconds": metrics.get("seconds", {}),
        "config": config,
        "settings": settings,
        "noun": "text" if settings.get("task") == "text" else "picture",
    }


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen on `count` pictures (Wilson 1927); count at least 1."""
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path.name} must be whole JSON. Received: {str(path)!r}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} must hold a JSON object. Received: {str(path)!r} with a {type(found).__name__}")
    return found


def _config(path: Path) -> list[tuple[str, str]]:
    """The settings as (dotted name, value), in their order."""
    import yaml

    def flat(value: Any, name: str) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [row for key, inner in value.items() for row in flat(inner, f"{name}.{key}" if name else str(key))]
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return [(name, {"None": "none", "True": "yes", "False": "no"}.get(shown, shown))]

    return flat(yaml.safe_load(path.read_text("utf-8")) or {}, "") if path.is_file() else []


def _charts(history: dict[str, Any]) -> list[dict[str, Any]]:
    charts = []
    for name in ("loss", "accuracy"):
        lines = {
            label: history[key] for key, label in ((name, "training"), (f"val_{name}", "validation")) if key in history
        }
        if lines:
            longest = max(len(values) for values in lines.values())
            epochs = history.get("epoch") or list(range(1, longest + 1))
            stages = history.get("stages") or ()
            charts.append(chart(name.capitalize(), epochs, lines, history.get("best_epoch"), stages))
    return charts


def _stages(history: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a training in several, with the rate in words; one stage is the training itself."""
    stages = history.get("stages") or []
    return [{**stage, "rate": _rate(stage)} for stage in stages] if len(stages) > 1 else []


def _closed_form(history: dict[str, Any]) -> dict[str, Any] | None:
    """The one stage of a strategy that has no epochs; None where there are some."""
    stages = history.get("stages") or [{}]
    return stages[0] if stages[0].get("schedule") == CLOSED_FORM else None


def _rate(stage: dict[str, Any]) -> str:
    if stage["learning_rate"] is None:
        return "by its schedule"
    words = stage["schedule"].replace("_", " ")
    return f"{stage['learning_rate']:g}" + (f", {words}" if words != "constant" else "")


def _matrix(report: Report) -> list[dict[str, Any]]:
    """A row a true class: its name and its cells with count, share of the row, and whether the answer is right."""
    rows = []
    for true, counts in enumerate(report.confusion):
        total = max(int(counts.sum()), 1)
        cells = [
            {"count": int(n), "share": n / total, "right": true == predicted} for predicted, n in enumerate(counts)
        ]
        rows.append({"name": report.class_names[true], "cells": cells})
    return rows


def _pairs(report: Report, count: int = PAIRS) -> list[dict[str, Any]]:
    """The pairs (true class, predicted class) that are confused most."""
    off = report.confusion * (1 - np.eye(len(report.class_names), dtype=int))
    order = np.argsort(-off, axis=None, kind="stable")[:count]
    found = [(*divmod(int(index), len(off)), int(off.flat[index])) for index in order if off.flat[index]]
    of = report.confusion.sum(1)
    return [
        {"true": report.class_names[a], "predicted": report.class_names[b], "count": n, "of": int(of[a])}
        for a, b, n in found
    ]


def _calibration(report: Report) -> dict[str, Any]:
    """How sure the answers are beside how often they are right."""
    sure = float(report.confidence.mean())
    return {
        "error": report.expected_calibration_error,
        "chance": calibrated_error(report.confidence),
        "confidence": sure,
        "excess": sure - report.accuracy,
        "chart": reliability_chart(report.reliability),
    }
