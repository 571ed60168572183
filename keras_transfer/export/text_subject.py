"""A text model on its way into files: token ids in, and its vocabulary beside it."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from ..backbones.text_inputs import TextInputs
from ..core.files import sha256
from ..core.texts import for_model
from .calibration import Calibration
from .certificate import Certificate, blank_certificate
from .subject import Subject, labels_of
from .text_heldout import held_out_texts, inputs_of
from .text_io import describe_text_io

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, eq=False)
class TextSubject(Subject):
    """A text model on its way into files; every check of the arguments has been made."""

    layer: TextInputs

    noun: ClassVar[str] = "text"

    def blank(self, name: str, precision: str) -> Certificate:
        """The certificate of a file before anything was measured."""
        count = len(self.calibration) if precision == "int8" and self.calibration is not None else None
        return blank_certificate(name, precision, None, None, self.pictures.split, count, length=self.shape[0])

    def describe(self, first: np.ndarray) -> dict[str, Any]:
        """`io.json` without its files, with the first text as the reference."""
        with tempfile.TemporaryDirectory() as folder:
            files = _write_tokenizer(self.layer, Path(folder))
            vocabulary = {file.name: sha256(file) for file in files}
        return describe_text_io(first, self.answer(first), self.labels, self.layer.pad_id, vocabulary)

    def install(self, path: Path, description: dict[str, Any], certificate: Certificate) -> None:
        """Enter the file that lies at `path` into its `io.json`, and write the vocabulary beside it."""
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            for file in _write_tokenizer(self.layer, Path(folder)):
                os.replace(file, path.with_name(file.name))
        super().install(path, description, certificate)


def make_text_subject(
    inference: keras.Model, data: Any, class_names: Sequence[str] | None, *, int8: bool, representative: Any = None
) -> TextSubject:
    """Check what was given and bring it together; `int8` asks for the texts to calibrate on."""
    layer = inputs_of(inference)
    texts = held_out_texts(inference, data)
    labels = labels_of(class_names if class_names is not None else texts.class_names, inference.output_shape[-1])
    calibration = _calibration(inference, data, representative, layer.max_length) if int8 else None
    return TextSubject(inference, texts, (layer.max_length,), labels, "", calibration, layer)


def _calibration(inference: keras.Model, data: Any, representative: Any, length: int) -> Calibration:
    given = for_model(data if representative is None else representative, inference)
    splits = getattr(given, "splits", None)
    train = splits.get("train") if isinstance(splits, dict) else given if representative is not None else None
    if not hasattr(train, "of_one_length"):
        raise ValueError(
            "int8 is calibrated on training texts: pass a TextData as `data`, or one (or a split of it) as "
            f"`representative`. Received: {type(data).__name__} and {type(representative).__name__}"
        )
    return Calibration(train.of_one_length(length), np.asarray(train.targets()), "int32")  # type: ignore[union-attr]


def _write_tokenizer(layer: TextInputs, folder: Path) -> list[Path]:
    """The tokenizer as files of a folder: `tokenizer.json`, and the vocabulary as keras-hub writes it."""
    if layer.tokenizer is None:
        return []
    layer.tokenizer.save_assets(str(folder))
    config = layer.get_config()
    kept = {key: config[key] for key in ("names", "pad_id", "end_id", "max_length", "tokenizer")}
    (folder / TOKENIZER).write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return sorted(folder.iterdir())
