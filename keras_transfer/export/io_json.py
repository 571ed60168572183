"""`io.json`: what goes into a `.tflite` and what comes out, with a reference picture and its answer; read strictly."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.resize import RESIZES, decode
from . import io_output, text_io
from .precisions import PRECISIONS

NAME = "io.json"
FORMAT = 1
ORDER = {1: "L", 3: "RGB", 4: "RGBA"}
_LAYOUT: dict[str, Any] = {
    "format": int,
    "files": dict,
    "input": {
        "name": str,
        "shape": list,
        "dtype": str,
        "channels": int,
        "order": str,
        "range": list,
        "resize": str,
        "image_size": list,
    },
    "output": io_output.LAYOUT,
    "reference": {"png": str, "expected": list},
}
_FILE = {"precision": str, "sha256": str, "tolerance": float}
_ROUNDED = {**_FILE, "expected": list}  # not float32: the file's own answer to the reference picture


def describe_io(picture: np.ndarray, expected: np.ndarray, labels: Sequence[str], resize: str) -> dict[str, Any]:
    """`io.json` without its files: `picture` is the reference (h, w, c) uint8, `expected` its probabilities."""
    height, width, channels = picture.shape
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {
        "format": FORMAT,
        "files": {},
        "input": {
            "name": "picture",
            "shape": [1, height, width, channels],
            "dtype": "float32",
            "channels": channels,
            "order": ORDER[channels],
            "range": [0, 255],
            "resize": resize,
            "image_size": [height, width],
        },
        "output": io_output.describe_output(labels),
        "reference": {
            "png": base64.b64encode(buffer.getvalue()).decode(),
            "expected": [float(value) for value in expected],
        },
    }


def read_io(path: str | Path) -> dict[str, Any]:
    """Read and check an `io.json`; a missing or foreign key, a wrong type, parts that do not fit are a `ValueError`."""
    path = Path(path)
    try:
        found = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"io.json must be whole JSON; export the model again. Received: {str(path)!r}: {error}"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] != FORMAT:
        raise ValueError(
            f"io.json must have format {FORMAT}; use the version that wrote it, or export again. "
            f"Received: format {found['format']}"
        )
    text = (
        isinstance(found, dict) and isinstance(found.get("input"), dict) and found["input"].get("name") == text_io.NAME
    )
    _check(found, _LAYOUT | text_io.LAYOUT if text else _LAYOUT, "io.json")
    for name, entry in found["files"].items():
        rounded = isinstance(entry, dict) and entry.get("precision") in set(PRECISIONS) - {"float32"}
        _check(entry, _ROUNDED if rounded else _FILE, f"io.json files/{name}")
    given, out = found["input"], found["output"]
    answers = [found["reference"], *(entry for entry in found["files"].values() if "expected" in entry)]
    of_pictures = (
        {}
        if text
        else {
            "input/order": ORDER.get(given["channels"]) == given["order"],
            "input/shape": given["shape"] == [1, *given["image_size"], given["channels"]]
            and len(given["image_size"]) == 2,
            "input/dtype": given["dtype"] == "float32",
            "input/range": given["range"] == [0, 255],
            "input/resize": given["resize"] in RESIZES,
        }
    )
    fits = {
        **(text_io.fits(found) if text else of_pictures),
        **io_output.fits(out),
        "reference/expected": all(len(one["expected"]) == len(out["labels"]) for one in answers),
    }
    if wrong := [name for name, good in fits.items() if not good]:
        raise ValueError(
            "The parts of io.json must fit each other; export the model again. "
            f"Received: {str(path)!r} with {', '.join(wrong)} that do not"
        )
    return found


def reference_of(found: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The reference picture (h, w, c) uint8, or token ids (length,), and the expected probabilities."""
    if found["input"]["name"] == text_io.NAME:
        return text_io.reference(found)
    picture = decode(base64.b64decode(found["reference"]["png"]), found["input"]["channels"])
    return picture, np.asarray(found["reference"]["expected"], "float32")


def _check(value: Any, layout: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(
            f"{where} must be an object with the keys {', '.join(layout)}. Received: {type(value).__name__}"
        )
    missing, foreign = [key for key in layout if key not in value], [key for key in value if key not in layout]
    if missing or foreign:
        raise ValueError(
            f"{where} must have exactly the keys {', '.join(layout)}; export again. "
            f"Received: missing {missing}, foreign {foreign}"
        )
    for key, kind in layout.items():
        if isinstance(kind, dict):
            _check(value[key], kind, f"{where} {key}")
        elif not isinstance(value[key], (int, float) if kind is float else kind) or isinstance(value[key], bool):
            raise ValueError(
                f"{where} {key} must be of type {kind.__name__}; export again. Received: {value[key]!r}"[:300]
            )
