"""`keras-transfer predict`: what a model says of pictures or texts. A `.tflite` of pictures answers without TensorFlow, in a blink."""

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
    samples: Annotated[
        list[str],
        typer.Argument(
            metavar="SAMPLES",
            help="Pictures, or folders of them; of a model of texts, texts, or .txt files with one a line.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="So many classes a sample, the likeliest first.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is on pictures, or what texts are, with probabilities.

    A .tflite needs the io.json that was written beside it: it holds labels, size and resizing. A model of texts takes the
    texts themselves; the two texts of a pair are separated by a tab.

    \b
    Examples:
      keras-transfer predict saved_models/photos new/*.jpg
      keras-transfer predict model_float32.tflite new/ --top 1 --json
      keras-transfer predict saved_models/reviews "a fine film" new_reviews.txt
    """
    labels, named, rows = answers(model, samples)
    found = []
    for name, probabilities in zip(named, rows, strict=True):
        best = probabilities.argsort()[::-1][:top]
        likeliest = [{"label": labels[i], "probability": round(float(probabilities[i]), 6)} for i in best]
        found.append({"path": name, "predictions": likeliest})
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


def find_texts(samples: Sequence[str]) -> list[str]:
    """The texts among `samples`, and the lines of its .txt files."""
    from ..data.text_files import decoded

    found: list[str] = []
    for one in samples:
        if one.lower().endswith(".txt"):
            if not Path(one).is_file():
                raise FileNotFoundError(f"The file of texts must exist. Received: {one!r}")
            found += [line.removesuffix("\r") for line in decoded(Path(one)).split("\n") if line.strip()]
        elif not one.strip():
            raise ValueError(f"A text must not be empty. Received: {one!r}")
        elif os.path.exists(one):  # pathlib takes no text of thousands of letters for a name
            raise ValueError(
                f"A file of texts for predict is a .txt with a text a line; tables and folders are for evaluate. "
                f"Received: {one!r}"
            )
        else:
            found.append(one)
    if not found:
        raise ValueError(f"There must be at least one text. Received: {list(samples)}")
    return found


def answers(model: Path, samples: Sequence[str]) -> tuple[Sequence[str], list[str], "np.ndarray"]:
    """Labels, what each sample is called, and its probabilities: from the `.tflite` where there is one, else from
    `model.keras`.
    """
    file = model / "model_float32.tflite" if model.is_dir() else model
    if not model.exists():
        raise FileNotFoundError(f"A run's folder or a .tflite file is needed. Received: {str(model)!r}")
    if file.is_file():
        if file.suffix != ".tflite":
            raise ValueError(f"A run's folder or a .tflite file is needed. Received: {str(model)!r}")
        from ..export.litert import LiteRTModel

        exported = LiteRTModel(file, num_threads=os.cpu_count())
        if exported.reads_texts:
            texts = find_texts(samples)
            load("backbones.text_inputs")  # the tokenizer is keras-hub's
            return exported.labels, texts, exported.predict(as_given(texts, file.parent))
        pictures = find_pictures([Path(one) for one in samples])
        return exported.labels, [str(one) for one in pictures], exported.predict(pictures)
    if not (model / "model.keras").is_file():
        raise ValueError(f"A run's folder holds model_float32.tflite or model.keras. Received: {str(model)!r}")
    return _with_keras(model, samples)


def as_given(texts: Sequence[str], folder: Path) -> list[str | tuple[str, str]]:
    """Texts, or pairs that a tab separates, as the run in `folder` was trained; without a run a tab tells."""
    pairs = _pairs(folder)
    if pairs is None:
        pairs = any("\t" in text for text in texts)
    if not pairs:
        return list(texts)
    found = [tuple(text.split("\t")) for text in texts]
    for text, parts in zip(texts, found, strict=True):
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise ValueError(f"A pair is two texts with one tab between them. Received: {text!r:.200}")
    return found  # type: ignore[return-value]


def _pairs(folder: Path) -> bool | None:
    """Whether a run was trained on pairs; None where that is not known."""
    if not (folder / "config.yaml").is_file():
        return None
    import yaml

    from ..config.files import RESOLVED_BY

    try:
        return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))[RESOLVED_BY].get("pairs")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None  # the exported file needs no config


def _with_keras(run: Path, samples: Sequence[str]) -> tuple[Sequence[str], list[str], "np.ndarray"]:
    runs = load("pipeline.runs")
    folder, config = runs.open_run(run)
    labels = runs.labels_of(folder)
    import numpy as np

    from ..core.saving import load as load_model
    from ..data.resize import load_picture
    from ..export.inference import inference_model, predict_batch

    if config.get("task") == "text":
        from ..export import serving_model

        texts = find_texts(samples)
        return labels, texts, serving_model(load_model(folder)).predict(as_given(texts, folder))
    pictures = find_pictures([Path(one) for one in samples])
    final = inference_model(load_model(folder))
    _, height, width, channels = final.input_shape
    parts = [pictures[start : start + 32] for start in range(0, len(pictures), 32)]
    batches = (
        np.stack([load_picture(one, (height, width), config["resize"], channels) for one in part]) for part in parts
    )
    return (
        labels,
        [str(one) for one in pictures],
        np.concatenate([predict_batch(final, batch, 32) for batch in batches]),
    )


def _below(path: Path) -> str:
    return str(path.relative_to(path.anchor)) if path.anchor else str(path)


def _lines(found: list[dict[str, Any]]) -> str:
    width = max(len(one["path"]) for one in found)
    return "\n".join(
        f"{one['path']:<{width}}  " + "  ".join(f"{p['label']} {p['probability']:.4f}" for p in one["predictions"])
        for one in found
    )
