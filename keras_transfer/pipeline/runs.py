"""What can be done with a finished run: evaluate it on other pictures, export it again, list them all."""

import csv
import json
from pathlib import Path
from typing import Any

from .folder import RUNS, RunFailed, is_run


def open_run(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a run and its resolved config; a `ValueError` where it is none."""
    import yaml

    path = Path(run)
    if not is_run(path):
        raise ValueError(
            f"A run is a folder with model.keras and config.yaml, written by `keras-transfer fit`. Received: {str(path)!r}"
        )
    return path, yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))


def labels_of(path: Path) -> list[str]:
    """The class names of a run, in the order of the model's outputs."""
    return (path / "labels.txt").read_text(encoding="utf-8").splitlines()


def evaluate_run(
    run: str | Path, data: str | Path, *, on_bad: str = "raise", show_progress: bool | None = None, say: Any = print
) -> tuple[str, Any]:
    """Judge a run on a folder of pictures: which split was read ("all" without split folders), and the report.

    Example: `split, report = kt.pipeline.evaluate_run("saved_models/flowers", "new_flowers/")`
    """
    path, config = open_run(run)
    from ..core.saving import load
    from ..data.labelled import load_labelled
    from ..evaluate import evaluate
    from .opening import tell_skipped

    names = labels_of(path)
    model = load(path)
    _, height, width, channels = model.input_shape
    split, pictures, skipped = load_labelled(
        data,
        names,
        image_size=(height, width),
        resize=config["resize"],
        channels=channels,
        on_bad=on_bad,
        show_progress=show_progress,
    )
    tell_skipped(skipped, say)
    return split, evaluate(model, pictures, class_names=names)


def export_run(run: str | Path, precision: str = "float32", *, data: str | Path | None = None) -> Any:
    """Export a run again and prove it on its held-out pictures, which are read again (from `data` where they have
    moved).

    Raises `RunFailed` where the certificate fails; the reason then stands in `certificate.json`.
    """
    path, config = open_run(run)
    from ..core.saving import load
    from .opening import SAMPLE, open_data
    from .writing import certify

    model = load(path)
    place = str(data or config["data"])
    if not place.startswith(SAMPLE) and not Path(place).exists():
        raise ValueError(f"The pictures of the run have moved; say where they are with --data. Received: {place!r}")
    pictures = open_data({**config, "data": place}, model.input_shape[1:])
    split, held_out = pictures.held_out
    with open(path / "split.csv", newline="", encoding="utf-8") as file:
        meant = sorted(row["path"] for row in csv.DictReader(file) if row["split"] == split)
    if sorted(held_out.names) != meant:
        raise ValueError(f"The data must be that of the run: its {split} pictures are others. Received: {pictures!r}")
    if list(pictures.class_names) != labels_of(path):
        raise ValueError(
            f"The data must hold the classes of the run, {labels_of(path)}. Received: {list(pictures.class_names)}"
        )
    certificate, reason = certify(path, model, pictures, precision)
    if reason:
        raise RunFailed(reason)
    return certificate


def list_runs(folder: str | Path = RUNS) -> list[dict[str, Any]]:
    """One row a run in `folder`, the newest first: name, path, data, backbone, strategy, split, accuracy, when it was written."""
    rows = []
    for file in sorted(Path(folder).glob("*/config.yaml"), key=lambda one: one.stat().st_mtime, reverse=True):
        path = file.parent
        if path.name.startswith(".") or not is_run(path) or not (path / "metrics.json").is_file():
            continue
        _, config = open_run(path)
        try:
            metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        except ValueError:
            metrics = {"validation": {"accuracy": None}}  # a damaged file is shown as such, and hides no other run
        split = "test" if "test" in metrics else "validation"
        told = {key: str(config[key]) for key in ("data", "backbone", "strategy")}
        accuracy = metrics[split]["accuracy"]
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
