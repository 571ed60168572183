"""Everything that a run leaves behind, written into its folder: model, export with its proof, figures, report."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..config import write_config
from ..core.files import atomic_write, write_json
from ..core.freezing import freeze_plan
from ..core.saving import save
from ..evaluate import report_from, write_predictions, write_report
from ..evaluate.metrics import Report
from ..export import Certificate, CertificateError, export_tflite, inference_model
from ..export.inference import predict_batch
from ..export.precisions import PRECISIONS
from .folder import RunFailed
from .tasks import task_of

BATCH = 64


def write_run(
    folder: Path,
    model: keras.Model,
    data: Any,
    history: keras.callbacks.History,
    config: Any,
    resolved: dict[str, Any],
    seconds: dict[str, float],
) -> Report:
    """Write the whole run into `folder` and return the report of the held-out pictures (test where given, else
    validation).

    seconds: "scan" and "fit"; "export" and "total" are added. A certificate that fails leaves no `.tflite`, its
    reason in `certificate.json`, and raises `RunFailed` when everything else is written.
    """
    started = time.perf_counter()
    names = list(data.class_names)
    save(model, folder / "model.keras")
    write_json(folder / "freeze.json", freeze_plan(model))
    atomic_write(folder / "labels.txt", "".join(f"{name}\n" for name in names))
    data.write_split(folder / "split.csv")
    write_json(folder / "history.json", history_of(history))
    write_config(folder / "config.yaml", config, resolved)
    final = inference_model(model)
    noun = f"{task_of(config).NOUN}s"
    reports = {name: _report(final, split, names, name, noun) for name, split in data.splits.items() if name != "train"}
    held_out, held = data.held_out
    write_predictions(folder / "predictions.csv", reports[held_out])
    exporting = time.perf_counter()
    failures = certify_all(folder, final, data, config.export)[1]
    now = time.perf_counter()
    total = sum(seconds.values()) + now - started
    times = {**seconds, "export": now - exporting, "total": total}
    metrics = {name: report.to_dict() for name, report in reports.items()}
    metrics |= {"last_epoch": _last_epoch(history), "seconds": {name: round(value, 3) for name, value in times.items()}}
    write_json(folder / "metrics.json", metrics)
    if data.scan is not None:
        data.scan.save(folder / "scan.json")
    write_report(folder, samples=task_of(config).sample(held))
    if failures:
        raise RunFailed(" ".join(failures))
    return reports[held_out]


def certify_all(
    folder: Path, model: keras.Model, data: Any, precisions: Sequence[str]
) -> tuple[list[Certificate], list[str]]:
    """Export several precisions into `folder`: their certificates, which are written too, and why some failed.

    float32 comes first, whatever the order: the others are timed beside it.
    """
    found, failures = {}, []
    for precision in sorted(set(precisions), key=list(PRECISIONS).index):
        found[precision], reason = certify(folder, model, data, precision)
        if reason:
            failures.append(reason)
    return [found[precision] for precision in dict.fromkeys(precisions)], failures


def certify(folder: Path, model: keras.Model, data: Any, precision: str) -> tuple[Certificate, str | None]:
    """Export one precision into `folder`: its certificate, which is written too, and the reason where that fails."""
    reason = None
    try:
        certificate = export_tflite(model, folder / f"model_{precision}.tflite", precision, data=data)
    except CertificateError as error:
        certificate, reason = error.certificate, str(error)
    add_certificate(folder, certificate)
    return certificate, reason


def add_certificate(folder: Path, certificate: Certificate) -> None:
    """Write a certificate into `certificate.json`, by its precision."""
    found = {**_read(folder / "certificate.json"), certificate.precision: certificate.to_dict()}
    write_json(folder / "certificate.json", {name: found[name] for name in PRECISIONS if name in found})


def history_of(history: keras.callbacks.History) -> dict[str, Any]:
    """The curves, epochs counted from 1 as `fit` prints them."""
    curves = {name: [float(value) for value in values] for name, values in history.history.items()}
    best = getattr(history, "best_epoch", None)
    stages = [{**stage, "first_epoch": stage["first_epoch"] + 1} for stage in getattr(history, "stages", [])]
    epochs = [epoch + 1 for epoch in history.epoch]
    return {"epoch": epochs, **curves, "best_epoch": None if best is None else best + 1, "stages": stages}


def _last_epoch(history: keras.callbacks.History) -> dict[str, Any]:
    curves = {name.removeprefix("val_"): values for name, values in history.history.items() if name.startswith("val_")}
    return {"epoch": history.epoch[-1] + 1, **{name: float(values[-1]) for name, values in curves.items()}}


def _report(final: keras.Model, split: Any, names: list[str], name: str, noun: str) -> Report:
    parts = [np.arange(start, min(start + BATCH, len(split))) for start in range(0, len(split), BATCH)]
    probabilities = [predict_batch(final, split.gather(part)[0], BATCH) for part in parts]
    return report_from(np.concatenate(probabilities), split.targets(), names, split.names, name, noun)


def _read(path: Path) -> dict[str, Any]:
    import json

    return json.loads(path.read_text()) if path.is_file() else {}
