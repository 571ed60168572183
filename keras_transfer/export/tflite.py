"""Export to `.tflite`: batch of one, raw pixels 0..255 in, class probabilities out, and a certificate or no file."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.files import temporary_sibling
from ..core.stderr import held_back
from .beside import remove_file
from .calibration import Calibration
from .certificate import Certificate, CertificateError, failed
from .making import make_subject
from .precisions import check_precision
from .text_io import NAME as TEXT_INPUT
from .text_io import reads_ids


def export_tflite(
    model: keras.Model,
    path: str | Path,
    precision: str = "float32",
    *,
    data: Any = None,
    representative: Any = None,
    class_names: Sequence[str] | None = None,
    resize: str | None = None,
) -> Certificate:
    """Write `inference_model(model)` as a `.tflite`, an `io.json` beside it, and prove that it answers alike.

    The file takes "picture", (1, height, width, channels) float32 in 0..255, and gives "probabilities", (1, classes)
    float32 in the order of `class_names`, whatever the precision. The certificate compares Keras and LiteRT on up to 512
    pictures of `data`: an `ImageData`, whose held-out split is taken, arrays, or a data set; seeded random pictures
    where there is none.

    precision, with what its certificate asks for:
    - "float32": no probability differs by more than 1e-4, and every top class is the same.
    - "float16": weights in 16 bits, half the bytes; no probability differs by more than 1e-2.
    - "dynamic": weights in 8 bits, a quarter of the bytes; the top class agrees on 0.95 of the pictures, one picture of
      slack below 100. Activations are quantised as they come, which is slower on many processors.
    - "int8": weights and activations in 8 bits (Jacob et al. 2018, arXiv:1712.05877: `r = s (q - z)`, ranges measured on
      `representative`); the same bar.

    representative: training pictures for "int8" (n, height, width, channels) 0..255, a split, or an `ImageData`; 100 of
    them are taken, spread over the classes. By default the training split of `data`.
    class_names and resize ("squash", "crop", "pad"): those of `data` where it knows them, else "0", "1", ... and
    "squash".

    A text model (`kt.build_text_classifier`) takes "token_ids", (1, max_length) int32, padded at the end, and is compared
    on the token ids of `data`, a `TextData`; its vocabulary and a `tokenizer.json` are written beside it. "dynamic" is the
    small one for texts: with int8 activations MiniLM did not pass its certificate (44 of 150 top classes differed).

    Raises `CertificateError` where the proof fails or the model cannot be converted; then no file is at `path`. Exports
    of one model may lie in one folder and share the `io.json`; one of another model is a `ValueError`.

    Example: `print(kt.export_tflite(model, "model_int8.tflite", "int8", data=data))`
    """
    path = check_path(path)
    int8 = check_precision(precision) == "int8"
    if representative is not None and not int8:
        raise ValueError(f"`representative` is for precision 'int8'; leave it out. Received: precision {precision!r}")
    subject = make_subject(model, data, class_names, resize, int8=int8, representative=representative)
    description, blank = subject.description(path), subject.blank(path.name, precision)
    try:
        with temporary_sibling(path) as temporary:
            try:
                temporary.write_bytes(convert(subject.inference, subject.shape, precision, subject.calibration))
            except Exception as error:  # the converter raises what it likes; any of it means that there is no file
                raise CertificateError(failed(blank, error)) from error
            (certificate,) = subject.certificates({temporary: blank}, beside=path)
            if not certificate.passed:
                raise CertificateError(certificate)
    except CertificateError:
        path.unlink(missing_ok=True)  # one of an earlier export is not this model's
        remove_file(path.parent, path.name)
        raise
    subject.install(path, description, certificate)
    return certificate


def convert(
    inference: keras.Model, shape: tuple[int, ...], precision: str = "float32", calibration: Calibration | None = None
) -> bytes:
    """The bytes of a `.tflite` for one picture of `shape` (height, width, channels), or token ids (length,), LiteRT's own
    operations only.

    The graph goes through a SavedModel whose variables are named one by one: a converter that is handed the Keras model
    beside its concrete function writes a file without weights. What has no int8 kernel stays in float32.
    """
    import tensorflow as tf

    if precision != "float32":
        _refuse_extremes(inference)

    def serve(sample: Any) -> dict[str, Any]:
        return {"probabilities": inference(sample, training=False)}

    name, kind = (TEXT_INPUT, tf.int32) if reads_ids(inference) else ("picture", tf.float32)
    signature = [tf.TensorSpec((1, *shape), kind, name=name)]
    module = tf.Module()
    module.weights = [variable.value for variable in inference.variables]
    module.serve = tf.function(serve, input_signature=signature, autograph=False)
    with tempfile.TemporaryDirectory() as folder, _quiet(tf.get_logger()):
        # without the gradients of activations such as swish, which nobody asks a file for, and which TensorFlow never frees
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve}, options=options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            assert calibration is not None  # make_subject has seen to it
            converter.representative_dataset = lambda: ({name: one} for one in calibration.pictures())
        return converter.convert()


def _refuse_extremes(inference: keras.Model) -> None:
    """The converter ends the process, without an exception, where 16 bits cannot hold a weight."""
    for variable in inference.variables:
        values = np.asarray(keras.ops.convert_to_numpy(variable))
        if values.dtype.kind == "f" and not np.abs(values).max(initial=0) <= np.finfo("float16").max:
            raise ValueError(f"a weight of {variable.path!r} is no number that 16 bits hold (at most 65504)")


def check_path(path: str | Path) -> Path:
    """`path` to export to as a `Path`; a `ValueError` where it is none, or where the backend cannot export."""
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"The file to export to must end in '.tflite'. Received: {str(path)!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "The export to .tflite needs the TensorFlow backend: set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()!r}"
        )
    return path


@contextlib.contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """TensorFlow's notes on assets, signatures and its own calibrator are not the user's concern here."""
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with warnings.catch_warnings(), held_back():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
