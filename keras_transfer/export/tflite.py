"""Export to `.tflite`: batch of one, raw pixels 0..255 in, class probabilities out, and a certificate or no file."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.files import temporary_sibling
from ..data.resize import check_resize
from .certificate import Certificate, CertificateError, blank_certificate, compare, failed, full_float32
from .heldout import HeldOut, check_pictures, held_out, random_pictures
from .inference import inference_model, predict_batch
from .io_json import ORDER, TOLERANCE, add_file, describe_io, reference_of, remove_file, shared_io


def export_tflite(
    model: keras.Model,
    path: str | Path,
    precision: str = "float32",
    *,
    data: Any = None,
    class_names: Sequence[str] | None = None,
    resize: str | None = None,
) -> Certificate:
    """Write `inference_model(model)` as a `.tflite`, an `io.json` beside it, and prove that it answers alike.

    The file takes "picture", (1, height, width, channels) float32 in 0..255, and gives "probabilities", (1, classes) in
    the order of `class_names`. The certificate compares Keras and LiteRT on up to 512 pictures of `data`: an
    `ImageData`, whose held-out split is taken, arrays, or a data set; seeded random pictures where there is none.

    precision: "float32". class_names and resize ("squash", "crop", "pad"): those of `data` where it knows them, else
    "0", "1", ... and "squash". Raises `CertificateError` where the proof fails or the model cannot be converted; then
    no file is at `path`.

    Example: `print(kt.export_tflite(model, "model_float32.tflite", data=data))`
    """
    path = _check_arguments(path, precision)
    inference = inference_model(model)
    pictures = held_out(data) if data is not None else None
    shape = _shape(inference, pictures)
    pictures = pictures or random_pictures(shape)
    how = check_resize(resize or pictures.resize or "squash")
    labels = _labels(class_names if class_names is not None else pictures.class_names, inference.output_shape[-1])
    with full_float32():
        description = _description(inference, pictures, labels, how, shared_io(path))
    blank = blank_certificate(path.name, precision, shape[:2], how, pictures.split)
    try:
        with temporary_sibling(path) as temporary:
            try:
                temporary.write_bytes(convert(inference, shape))
            except Exception as error:  # the converter raises what it likes; any of it means that there is no file
                raise CertificateError(failed(blank, error)) from error
            certificate = compare(inference, temporary, pictures, blank)
            if not certificate.passed:
                raise CertificateError(certificate)
    except CertificateError:
        path.unlink(missing_ok=True)  # one of an earlier export is not this model's
        remove_file(path.parent, path.name)
        raise
    add_file(path.parent, description, path.name, precision, str(certificate.sha256))
    return certificate


def convert(inference: keras.Model, shape: tuple[int, ...]) -> bytes:
    """The bytes of a `.tflite` for one picture of `shape` (height, width, channels), LiteRT's own operations only.

    The graph goes through a SavedModel whose variables are named one by one: a converter that is handed the Keras model
    beside its concrete function writes a file without weights.
    """
    import tensorflow as tf

    def serve(picture: Any) -> dict[str, Any]:
        return {"probabilities": inference(picture, training=False)}

    signature = [tf.TensorSpec((1, *shape), tf.float32, name="picture")]
    module = tf.Module()
    module.weights = [variable.value for variable in inference.variables]
    module.serve = tf.function(serve, input_signature=signature, autograph=False)
    with tempfile.TemporaryDirectory() as folder, _quiet(tf.get_logger()):
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        return converter.convert()


def _check_arguments(path: str | Path, precision: str) -> Path:
    if precision not in TOLERANCE:
        raise ValueError(
            f"The precisions that can be exported now are {', '.join(map(repr, TOLERANCE))}. Received: {precision!r}"
        )
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"The file to export to must end in '.tflite'. Received: {str(path)!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "The export to .tflite needs the TensorFlow backend: set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()!r}"
        )
    return path


def _shape(inference: keras.Model, pictures: HeldOut | None) -> tuple[int, int, int]:
    """Height, width and channels: the model's, and where it leaves them open the pictures'."""
    shape = tuple(inference.input_shape[1:])
    if pictures is not None:
        first = next(iter(pictures.batches(1, 1)), None)
        if first is None:
            raise ValueError("There must be at least one picture to measure on. Received: an empty data set")
        check_pictures(inference, first[0])
        shape = tuple(first[0].shape[1:])
    if len(shape) != 3 or None in shape or shape[2] not in ORDER:
        raise ValueError(
            "The model must take pictures of a fixed (height, width, channels) with 1, 3 or 4 channels; pass `data`, "
            f"or build it with an input_shape. Received: {shape}"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def _labels(class_names: Sequence[str] | None, classes: int) -> list[str]:
    labels = (
        [str(name) for name in class_names] if class_names is not None else [str(index) for index in range(classes)]
    )
    if len(labels) != classes or len(set(labels)) != classes:
        raise ValueError(
            f"`class_names` must be {classes} different names, one an output of the model. Received: {labels}"
        )
    return labels


def _description(
    inference: keras.Model, pictures: HeldOut, labels: list[str], how: str, shared: dict[str, Any] | None
) -> dict[str, Any]:
    """What `io.json` will say: what it says already where other exports of the same model lie there."""
    first = next(iter(pictures.batches(1, 1)))[0][0]
    picture = np.rint(np.clip(first, 0, 255)).astype("uint8")
    ours = describe_io(picture, predict_batch(inference, picture[None], 32)[0], labels, how)
    if shared is None:
        return ours
    same = shared["input"] == ours["input"] and shared["output"] == ours["output"]
    if same:
        picture, expected = reference_of(shared)
        same = np.allclose(predict_batch(inference, picture[None], 32)[0], expected, atol=TOLERANCE["float32"])
    if not same:
        raise ValueError(
            "A folder holds the exports of one model only; export to another folder, or remove what is there. "
            f"Received: a folder with another model's {', '.join(shared['files'])}"
        )
    return shared


@contextlib.contextmanager
def _quiet(logger: Any) -> Any:
    """TensorFlow's notes on assets and signatures are not the user's concern here."""
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
