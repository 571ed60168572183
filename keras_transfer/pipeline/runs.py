"""What can be done with a finished run: open it, evaluate it on other pictures, list them all."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.tasks import as_delimiter
from .folder import RUNS, is_run
from .tasks import task_of

# those of a config that are needed again
KEYS = ("data", "backbone", "strategy", "validation_fraction", "batch_size", "seed", "on_bad")


def open_run(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a run and its resolved config; a `ValueError` where it is none, or its config is damaged."""
    import yaml

    path = Path(run)
    if not is_run(path):
        raise ValueError(
            f"A run is a folder with model.keras and config.yaml, written by `keras-transfer fit`. Received: {str(path)!r}"
        )
    file = path / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict) or (missing := [name for name in KEYS if name not in config]):
        lacks = f"lacks {', '.join(missing)}" if isinstance(config, dict) else "holds no settings"
        raise ValueError(f"config.yaml must hold the settings that `fit` wrote. Received: {str(file)!r}, which {lacks}")
    return path, config


def labels_of(path: Path) -> list[str]:
    """The class names of a run, in the order of the model's outputs."""
    return (path / "labels.txt").read_text(encoding="utf-8").splitlines()


def evaluate_run(
    run: str | Path,
    data: str | Path,
    *,
    on_bad: str = "raise",
    delimiter: str | None = None,
    show_progress: bool | None = None,
    say: Any = print,
) -> tuple[str, Any]:
    """Judge a run on other pictures or texts: which split was read ("all" where there are none), and the report.

    delimiter: what separates the columns of a table of texts, by default what did in the run.

    Example: `split, report = kt.pipeline.evaluate_run("saved_models/flowers", "new_flowers/")`
    """
    path, config = open_run(run)
    if delimiter is not None:
        if config.get("task") != "text":
            raise ValueError(f"`delimiter` is for tables of texts; leave it out. Received: delimiter={delimiter!r}")
        from ..data.text_rows import has_columns

        if not has_columns(data):
            raise ValueError(
                f"A folder of .txt files has no columns; leave `delimiter` out. Received: delimiter={delimiter!r}"
            )
        config = {**config, "delimiter": as_delimiter(delimiter)}
    from ..core.saving import load
    from ..evaluate import evaluate
    from .opening import tell_skipped

    names, task = labels_of(path), task_of(config)
    model = load(path)
    split, samples, skipped = task.labelled(config, model, data, names, on_bad, show_progress)
    tell_skipped(skipped, say)
    if seen := _seen(path, config, Path(data), samples.names):
        say(
            f"Note: {seen} of the {len(samples)} {task.NOUN}s trained this model or chose its epoch; the figures flatter it."
        )
    return split, evaluate(model, samples, class_names=names)


def _seen(run: Path, config: dict[str, Any], data: Path, names: Sequence[str]) -> int:
    """How many of the files to judge on are training or validation pictures of the run, by where they lie."""
    place = Path(str(config["data"]))
    if not place.exists():
        return 0
    root = _folder_of(place)
    with open(run / "split.csv", newline="", encoding="utf-8") as file:
        known = {(root / row["path"]) for row in csv.DictReader(file) if row["split"] != "test"}
    return sum((_folder_of(data) / name) in known for name in names)


def _folder_of(data: Path) -> Path:
    """Where the names of samples begin: the folder, or that in which a table lies."""
    return data.resolve() if data.is_dir() else data.resolve().parent


def list_runs(folder: str | Path = RUNS) -> list[dict[str, Any]]:
    """One row a run in `folder`, the newest first: name, path, data, backbone, strategy (or method), split, accuracy, `written`."""
    rows = []
    for file in sorted(Path(folder).glob("*/config.yaml"), key=lambda one: one.stat().st_mtime, reverse=True):
        path = file.parent
        if path.name.startswith(".") or not is_run(path) or not (path / "metrics.json").is_file():
            continue
        # a damaged file is shown as such, and hides no other run
        try:
            config = open_run(path)[1]
        except ValueError:
            config = {}
        try:
            metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
            split = "test" if "test" in metrics else "validation"
            accuracy = metrics[split]["accuracy"]
        except (ValueError, KeyError, TypeError):
            split, accuracy = "validation", None
        told = {key: str(config.get(key, "damaged")) for key in ("data", "backbone", "strategy")}
        if config.get("method", "none") != "none":  # it freezes the encoder itself
            told["strategy"] = str(config["method"])
        rows.append(
            {
                "name": path.name,
                "path": str(path),
                **told,
                "split": split,
                "accuracy": accuracy,
                "written": file.stat().st_mtime,
            }
        )
    return rows
