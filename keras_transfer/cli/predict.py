"""`keras-transfer predict`: what a model says of pictures. A `.tflite` answers without TensorFlow, in a blink."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .quiet import load

if TYPE_CHECKING:
    import numpy as np

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif")


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE.tflite", help="Folder of a run, or an exported file.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Pictures, or folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="So many classes a picture, the likeliest first.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is on pictures, with probabilities.

    A .tflite needs the io.json that was written beside it: it holds labels, size and resizing.

    \b
    Examples:
      keras-transfer predict saved_models/photos new/*.jpg
      keras-transfer predict model_float32.tflite new/ --top 1 --json
    """
    pictures = find_pictures(images)
    labels, rows = answers(model, pictures)
    found = []
    for picture, probabilities in zip(pictures, rows, strict=True):
        best = probabilities.argsort()[::-1][:top]
        likeliest = [{"label": labels[i], "probability": round(float(probabilities[i]), 6)} for i in best]
        found.append({"path": str(picture), "predictions": likeliest})
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else _lines(found))


def find_pictures(images: Sequence[Path]) -> list[Path]:
    """The files among `images`, and the pictures in its folders by name; what is not there is a `FileNotFoundError`."""
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
            if not inside:
                raise ValueError(f"A folder must hold pictures ({', '.join(PICTURES)}). Received: {str(path)!r}")
            found += inside
        elif path.is_file():
            found.append(path)
        elif any(sign in str(path) for sign in "*?["):  # a shell that does not expand, or a pattern without a match
            matches = sorted(match for match in Path(path.anchor or ".").glob(_below(path)) if match.is_file())
            if not matches:
                raise FileNotFoundError(f"No file matches the pattern. Received: {str(path)!r}")
            found += matches
        else:
            raise FileNotFoundError(f"The picture must exist. Received: {str(path)!r}")
    return found


def answers(model: Path, pictures: Sequence[Path]) -> tuple[Sequence[str], "np.ndarray"]:
    """Labels, and probabilities (pictures, classes): from the `.tflite` where there is one, else from `model.keras`."""
    file = model / "model_float32.tflite" if model.is_dir() else model
    if not model.exists():
        raise FileNotFoundError(f"A run's folder or a .tflite file is needed. Received: {str(model)!r}")
    if file.is_file():
        if file.suffix != ".tflite":
            raise ValueError(f"A run's folder or a .tflite file is needed. Received: {str(model)!r}")
        from ..export.litert import LiteRTModel

        exported = LiteRTModel(file, num_threads=os.cpu_count())
        return exported.labels, exported.predict(list(pictures))
    if not (model / "model.keras").is_file():
        raise ValueError(f"A run's folder holds model_float32.tflite or model.keras. Received: {str(model)!r}")
    return _with_keras(model, pictures)


def _with_keras(run: Path, pictures: Sequence[Path]) -> tuple[Sequence[str], "np.ndarray"]:
    runs = load("pipeline.runs")
    folder, config = runs.open_run(run)
    import numpy as np

    from ..core.saving import load as load_model
    from ..data.resize import load_picture
    from ..export.inference import inference_model, predict_batch

    final = inference_model(load_model(folder))
    _, height, width, channels = final.input_shape
    parts = [pictures[start : start + 32] for start in range(0, len(pictures), 32)]
    batches = (
        np.stack([load_picture(one, (height, width), config["resize"], channels) for one in part]) for part in parts
    )
    return runs.labels_of(folder), np.concatenate([predict_batch(final, batch, 32) for batch in batches])


def _below(path: Path) -> str:
    return str(path.relative_to(path.anchor)) if path.anchor else str(path)


def _lines(found: list[dict[str, Any]]) -> str:
    width = max(len(one["path"]) for one in found)
    return "\n".join(
        f"{one['path']:<{width}}  " + "  ".join(f"{p['label']} {p['probability']:.4f}" for p in one["predictions"])
        for one in found
    )
