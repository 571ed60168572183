"""Benchmarks as rows: a row's figures are written when it ends, and a second start skips the rows that are there."""

import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("KERAS_TRANSFER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PACKAGES = ("keras-transfer", "tensorflow", "keras")


def run_rows(name: str, rows: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    """Run the rows that `results/<name>.json` does not hold yet, one after the other, and return all of them."""
    path = RESULTS / f"{name}.json"
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for key, row in rows.items():
        if key in done:
            print(f"{key}: there already", flush=True)
            continue
        start = time.perf_counter()
        figures = row()
        made_by = {package: version(package) for package in PACKAGES}
        done[key] = {
            **figures,
            "seconds": round(time.perf_counter() - start, 1),
            "cores": os.cpu_count(),
            "versions": made_by,
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(done, indent=1) + "\n")
        temporary.replace(path)
        print(f"{key}: {figures}", flush=True)
    return {key: done[key] for key in rows}


def mean_spread(values: list[float]) -> str:
    """Mean and sample standard deviation, as people write them."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} +- {spread:.4f}"
