"""The certificate of an export: on held-out pictures the file answers as the Keras model does, or it is not shipped."""

import contextlib
import html
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.files import sha256
from .heldout import HeldOut, check_pictures, held_out, random_pictures
from .inference import inference_model, predict_batch
from .io_json import TOLERANCE
from .litert import Interpreter

PICTURES = 512


@dataclass(frozen=True)
class Certificate:
    """What was compared and how it came out.

    `split` names the pictures: "test", "validation", "given", or "random" where there were none. `max_difference` is
    the largest absolute difference of a class probability, at most `tolerance`; `top1_agreement` the share of pictures
    with the same top class, which must be 1.0; disagreements where the top two Keras probabilities lie within 1e-4 are
    `ties` and do not count. A figure that could not be measured is None, and `reason` says why.
    """

    precision: str
    file: str
    passed: bool
    reason: str | None
    pictures: int
    split: str
    max_difference: float | None
    tolerance: float
    top1_agreement: float | None
    ties: int
    bytes: int
    sha256: str | None
    image_size: tuple[int, int]
    resize: str

    def to_dict(self) -> dict[str, Any]:
        """The certificate as `certificate.json` holds it."""
        return {**asdict(self), "image_size": list(self.image_size)}

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"FAILED: {self.reason}"
        difference = (
            "not measured" if self.max_difference is None else f"{self.max_difference:.2g} (at most {self.tolerance:g})"
        )
        agreement = "not measured" if self.top1_agreement is None else f"{self.top1_agreement:.4f}"
        return (
            f"{self.file} ({self.precision}, {self.bytes / 1e3:,.0f} kB): {verdict}\n"
            f"  largest probability difference {difference}, top-1 agreement {agreement}"
            f"{f' ({self.ties} ties)' if self.ties else ''} on {self.pictures} {self.split} pictures, "
            f"{self.image_size[0]} x {self.image_size[1]}, {self.resize}"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{key}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.to_dict().items()
        )
        return f"<table><tbody>{rows}</tbody></table>"


class CertificateError(RuntimeError):
    """An export that did not prove itself; `.certificate` holds the reason, and no file was left."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        super().__init__(
            f"The {certificate.precision} export failed its certificate and was not kept: {certificate.reason}"
        )


def certify(
    model: keras.Model, path: str | Path, *, data: Any = None, precision: str = "float32", resize: str | None = None
) -> Certificate:
    """Compare a `.tflite` with the Keras model that it is said to be, on up to 512 held-out pictures.

    data: as for `export_tflite`. A difference stands in the certificate (`passed`, `reason`), not raised; the file
    is only read.

    Example: `print(kt.export.certify(model, "model_float32.tflite", data=data))`
    """
    path, inference = Path(path), inference_model(model)
    interpreter = Interpreter(path)
    pictures = held_out(data) if data is not None else random_pictures(interpreter.input_shape[1:])
    blank = blank_certificate(
        path.name, precision, interpreter.input_shape[1:3], resize or pictures.resize or "squash", pictures.split
    )
    return compare(inference, path, pictures, blank)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Meanwhile TensorFlow computes in all 24 bits: a GPU's default, TensorFloat-32, rounds factors to 11 of them."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    switch = tf.config.experimental
    before = switch.tensor_float_32_execution_enabled()
    switch.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        switch.enable_tensor_float_32_execution(before)


def blank_certificate(file: str, precision: str, image_size: tuple[int, ...], resize: str, split: str) -> Certificate:
    """A certificate before anything was measured, which has not passed."""
    size = (int(image_size[0]), int(image_size[1]))
    return Certificate(
        precision, file, False, "not measured", 0, split, None, TOLERANCE[precision], None, 0, 0, None, size, resize
    )


def compare(inference: keras.Model, path: Path, pictures: HeldOut, blank: Certificate) -> Certificate:
    """Run both on the pictures and fill in the certificate."""
    measured = replace(blank, bytes=path.stat().st_size, sha256=sha256(path))
    try:
        interpreter = Interpreter(path, min(4, os.cpu_count() or 1))
    except (RuntimeError, ValueError) as error:
        return replace(measured, reason=f"LiteRT cannot load the file: {_first_line(error)}")
    ours, theirs = [], []
    with full_float32():
        for x, _ in pictures.batches(32, PICTURES):
            check_pictures(inference, x)
            ours.append(predict_batch(inference, x, 32))
            theirs.append(np.stack([interpreter.run(one) for one in x]))
    return judge(np.concatenate(ours), np.concatenate(theirs), measured)


def judge(keras_probabilities: np.ndarray, litert_probabilities: np.ndarray, blank: Certificate) -> Certificate:
    """The verdict on two arrays (pictures, classes) of probabilities; what is not a number never passes."""
    if keras_probabilities.shape != litert_probabilities.shape:
        shapes = f"{keras_probabilities.shape} and {litert_probabilities.shape}"
        return replace(blank, reason=f"Keras and LiteRT give other shapes: {shapes}.")
    count = len(keras_probabilities)
    if not (np.isfinite(keras_probabilities).all() and np.isfinite(litert_probabilities).all()):
        return replace(blank, pictures=count, reason="Some probabilities are not finite numbers.")
    difference = float(np.abs(keras_probabilities - litert_probabilities).max())
    other = keras_probabilities.argmax(1) != litert_probabilities.argmax(1)
    top = np.sort(keras_probabilities, axis=1)[:, -2:]
    tied = other & (top[:, -1] - top[:, 0] <= 1e-4)
    agreement = 1.0 - float((other & ~tied).sum()) / count
    reasons = []
    if difference > blank.tolerance:
        reasons.append(f"A probability differs by {difference:.3g}, more than {blank.tolerance:g}.")
    if agreement < 1.0:
        reasons.append(f"The top class differs on {int((other & ~tied).sum())} of {count} pictures.")
    return replace(
        blank,
        passed=not reasons,
        reason=" ".join(reasons) or None,
        pictures=count,
        max_difference=difference,
        top1_agreement=agreement,
        ties=int(tied.sum()),
    )


def failed(blank: Certificate, error: BaseException) -> Certificate:
    """A certificate for a model that could not be converted at all."""
    return replace(blank, reason=f"The converter refused the model: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
