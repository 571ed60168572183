"""What is exported: the inference model, the pictures that prove a file of it, its labels and the `io.json` of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from .beside import add_file, float32_beside, shared_io
from .calibration import Calibration
from .certificate import Certificate, blank_certificate
from .heldout import HeldOut
from .inference import predict_batch
from .io_json import describe_io, reference_of
from .litert import Interpreter
from .parity import compare, full_float32
from .precisions import PRECISIONS


@dataclass(frozen=True, eq=False)
class Subject:
    """A model on its way into files; every check of the arguments has been made."""

    noun: ClassVar[str] = "picture"

    inference: keras.Model
    pictures: HeldOut
    shape: tuple[int, ...]
    labels: list[str]
    resize: str
    calibration: Calibration | None

    def blank(self, name: str, precision: str) -> Certificate:
        """The certificate of a file before anything was measured."""
        count = len(self.calibration) if precision == "int8" and self.calibration is not None else None
        return blank_certificate(name, precision, self.shape[:2], self.resize, self.pictures.split, count)

    def certificates(self, files: dict[Path, Certificate], beside: Path | None = None) -> list[Certificate]:
        """The certificates of converted files; `beside` is where the folder's float32 file is looked for."""
        return compare(self.inference, files, self.pictures, float32_beside(beside) if beside else None)

    def description(self, path: Path) -> dict[str, Any]:
        """What `io.json` beside `path` will say: what it says already, where other exports of the same model lie there."""
        first = next(iter(self.pictures.batches(1, 1)))[0][0]
        with full_float32():
            ours = self.describe(first)
            shared = shared_io(path)
            if shared is None:
                return ours
            kind = "other" if shared["input"]["name"] == ours["input"]["name"] else "no"
            other = [f"takes {kind} {self.noun}s"] * (shared["input"] != ours["input"])
            other += ["has other labels"] * (shared["output"] != ours["output"])
            if not other:
                picture, expected = reference_of(shared)
                if np.allclose(self.answer(picture), expected, atol=PRECISIONS["float32"].load_tolerance):
                    return shared
        names = ", ".join(shared["files"])
        raise ValueError(
            "The exports in a folder share one io.json, so they must be of one model. Export to another folder, such as "
            f"{str(path.parent / path.stem / path.name)!r}, or delete {names} from {str(path.parent)!r} and export again. "
            f"Received: a folder with {names}, whose model {' and '.join(other) or 'answers otherwise'}"
        )

    def describe(self, first: np.ndarray) -> dict[str, Any]:
        """`io.json` without its files, with the first picture as the reference."""
        picture = np.rint(np.clip(first, 0, 255)).astype("uint8")
        return describe_io(picture, self.answer(picture), self.labels, self.resize)

    def install(self, path: Path, description: dict[str, Any], certificate: Certificate) -> None:
        """Enter the file that lies at `path` into its `io.json`."""
        answer = Interpreter(path).run(reference_of(description)[0])
        add_file(path.parent, description, path.name, certificate.precision, str(certificate.sha256), answer)

    def answer(self, picture: np.ndarray) -> np.ndarray:
        """Keras' probabilities of one picture."""
        return predict_batch(self.inference, picture[None], 32)[0]


def labels_of(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of the outputs: those given, else their numbers."""
    labels = (
        [str(name) for name in class_names] if class_names is not None else [str(index) for index in range(classes)]
    )
    if len(labels) != classes or len(set(labels)) != classes:
        raise ValueError(
            f"`class_names` must be {classes} different names, one an output of the model. Received: {labels}"
        )
    return labels
