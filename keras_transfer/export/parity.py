"""Keras and LiteRT on the same pictures, in one pass, and the verdict on their answers."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.files import sha256
from ..evaluate.metrics import class_indices
from .beside import float32_beside
from .certificate import Certificate, blank_certificate, first_line
from .heldout import HeldOut, check_pictures, held_out, random_pictures
from .inference import inference_model, predict_batch
from .litert import Interpreter
from .precisions import allowed_disagreements, check_precision
from .timing import latencies

PICTURES = 512
TIE = 1e-4


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
    how = resize or pictures.resize or "squash"
    blank = blank_certificate(path.name, check_precision(precision), interpreter.input_shape[1:3], how, pictures.split)
    return compare(inference, {path: blank}, pictures, float32_beside(path))[0]


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


def compare(
    inference: keras.Model, files: Mapping[Path, Certificate], pictures: HeldOut, float32: Path | None = None
) -> list[Certificate]:
    """Run the model and all files on the pictures, once, and fill in their certificates, in the order of `files`.

    float32: the file to time the others beside; else the one among `files`.
    """
    filled = {path: replace(blank, bytes=path.stat().st_size, sha256=sha256(path)) for path, blank in files.items()}
    interpreters: dict[Path, Interpreter] = {}
    for path, blank in filled.items():
        try:
            interpreters[path] = Interpreter(path, min(4, os.cpu_count() or 1))
        except (RuntimeError, ValueError) as error:
            filled[path] = replace(blank, reason=f"LiteRT cannot load the file: {first_line(error)}")
    if not interpreters:
        return list(filled.values())
    ours, theirs, targets = _answers(inference, interpreters, pictures)
    for path, answers in theirs.items():
        filled[path] = judge(ours, answers, filled[path], targets)
    float32 = float32 or next((path for path in interpreters if filled[path].precision == "float32"), None)
    return list(_timed(filled, list(interpreters), float32).values())


def judge(
    keras_probabilities: np.ndarray, litert_probabilities: np.ndarray, blank: Certificate,
    targets: np.ndarray | None = None,
) -> Certificate:  # fmt: skip
    """The verdict on two arrays (pictures, classes) of probabilities; what is not a number never passes.

    With `targets` (pictures,), the true classes, the accuracy of both is filled in.
    """
    if keras_probabilities.shape != litert_probabilities.shape:
        shapes = f"{keras_probabilities.shape} and {litert_probabilities.shape}"
        return replace(blank, reason=f"Keras and LiteRT give other shapes: {shapes}.")
    count = len(keras_probabilities)
    if not (np.isfinite(keras_probabilities).all() and np.isfinite(litert_probabilities).all()):
        return replace(blank, pictures=count, reason="Some probabilities are not finite numbers.")
    difference = float(np.abs(keras_probabilities - litert_probabilities).max())
    ours, theirs = keras_probabilities.argmax(1), litert_probabilities.argmax(1)
    top = np.sort(keras_probabilities, axis=1)[:, -2:]
    tied = (ours != theirs) & (top[:, -1] - top[:, 0] <= TIE)
    others = int(((ours != theirs) & ~tied).sum())
    reasons = []
    if blank.tolerance is not None and difference > blank.tolerance:
        reasons.append(f"A probability differs by {difference:.3g}, more than {blank.tolerance:g}.")
    least = blank.least_agreement
    if least is not None and others > (allowed := allowed_disagreements(least, count)):
        bound = f"; at most {allowed} may" if allowed else ""
        reasons.append(f"The top class differs on {others} of {count} {blank.noun}s{bound}.")
    return replace(
        blank,
        passed=not reasons,
        reason=" ".join(reasons) or None,
        pictures=count,
        max_difference=difference,
        top1_agreement=1.0 - others / count,
        ties=int(tied.sum()),
        accuracy_before=None if targets is None else float((ours == targets).mean()),
        accuracy_after=None if targets is None else float((theirs == targets).mean()),
    )


def _answers(
    inference: keras.Model, interpreters: dict[Path, Interpreter], pictures: HeldOut
) -> tuple[np.ndarray, dict[Path, np.ndarray], np.ndarray | None]:
    """Keras' probabilities, every file's, and the true classes where they are known; a stream is read only once."""
    ours, targets, theirs = [], [], {path: [] for path in interpreters}  # type: ignore[var-annotated]
    with full_float32():
        for x, y in pictures.batches(32, PICTURES):
            check_pictures(inference, x)
            ours.append(predict_batch(inference, x, 32))
            for path, interpreter in interpreters.items():
                theirs[path].append(np.stack([interpreter.run(one) for one in x]))
            if y is not None:
                targets.append(class_indices(y, inference.output_shape[-1]))
    found = {path: np.concatenate(answers) for path, answers in theirs.items()}
    return np.concatenate(ours), found, np.concatenate(targets) if targets else None


def _timed(certificates: dict[Path, Certificate], paths: list[Path], float32: Path | None) -> dict[Path, Certificate]:
    """The certificates with the latency of the files at `paths`, beside that of the float32 one."""
    timed = [*paths, *([float32] if float32 and float32 not in paths else [])]
    measured = dict(zip(timed, latencies(timed), strict=True))
    beside = measured[float32] if float32 else None
    found = dict(certificates)
    for path in paths:
        other = None if path == float32 else beside
        found[path] = replace(found[path], latency_ms=measured[path], float32_latency_ms=other)
    return found
