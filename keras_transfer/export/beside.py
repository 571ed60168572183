"""What lies beside an exported file: the `io.json` that all exports of one model in a folder share."""

from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import sha256, write_json
from .io_json import NAME, read_io
from .precisions import PRECISIONS


def add_file(
    folder: str | Path, description: dict[str, Any], name: str, precision: str, digest: str, answer: np.ndarray
) -> Path:
    """Write `description` as the `io.json` of `folder`, with the entry of one more `.tflite`.

    answer: what the file gives for the reference picture. A float32 file is held against Keras' own answer; the others
    round, and on another machine are held against what they gave here.
    """
    entry: dict[str, Any] = {
        "precision": precision, "sha256": digest, "tolerance": PRECISIONS[precision].load_tolerance
    }  # fmt: skip
    if precision != "float32":
        entry["expected"] = [float(value) for value in answer]
    return write_json(Path(folder) / NAME, {**description, "files": {**description["files"], name: entry}})


def shared_io(path: str | Path) -> dict[str, Any] | None:
    """The `io.json` that the file at `path` would share with others that lie there, or None where there are none."""
    path = Path(path)
    try:
        found = read_io(path.with_name(NAME))
    except (OSError, ValueError):
        return None  # nothing that a file could rely on
    found["files"] = {
        name: entry for name, entry in found["files"].items() if name != path.name and path.with_name(name).is_file()
    }
    return found if found["files"] else None


def float32_beside(path: str | Path) -> Path | None:
    """The float32 file of the same model in the folder of `path`, or None."""
    shared = shared_io(path) or {"files": {}}
    for name, entry in shared["files"].items():
        file = Path(path).with_name(name)
        if entry["precision"] == "float32" and sha256(file) == entry["sha256"]:
            return file
    return None


def remove_file(folder: str | Path, name: str) -> None:
    """Take one file's entry out of the `io.json` of `folder`, and the `io.json` away with the last one."""
    path = Path(folder) / NAME
    try:
        found = read_io(path)
    except (OSError, ValueError):
        return  # no file could have relied on it
    if found["files"].pop(name, None) is not None:
        write_json(path, found) if found["files"] else path.unlink()
