"""From a model and data to the subject of an export, every argument checked: pictures here, texts in their own room."""

from collections.abc import Sequence
from typing import Any

import keras

from ..data.resize import check_resize
from .calibration import find_calibration
from .heldout import HeldOut, check_pictures, held_out, random_pictures
from .inference import inference_model
from .io_json import ORDER
from .subject import Subject, labels_of
from .text_io import reads_ids
from .text_subject import make_text_subject


def make_subject(
    model: keras.Model, data: Any, class_names: Sequence[str] | None, resize: str | None, *,
    int8: bool, representative: Any = None,
) -> Subject:  # fmt: skip
    """Check what was given and bring it together; `int8` asks for the pictures to calibrate on."""
    if reads_ids(inference := inference_model(model)):
        return make_text_subject(inference, data, class_names, int8=int8, representative=representative)
    pictures = held_out(data) if data is not None else None
    shape = _shape(inference, pictures)
    pictures = pictures or random_pictures(shape)
    how = check_resize(resize or pictures.resize or "squash")
    labels = labels_of(class_names if class_names is not None else pictures.class_names, inference.output_shape[-1])
    calibration = find_calibration(data, representative, shape) if int8 else None
    return Subject(inference, pictures, shape, labels, how, calibration)


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
            "The model must be a classifier of texts (kt.build_text_classifier), or of pictures of (height, width, channels), "
            "with 1, 3 or 4 channels, whose size it fixes or `data` tells. What is neither Keras exports itself, unproved: "
            f"model.export('model.tflite', format='litert'). Received: {shape}"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])
