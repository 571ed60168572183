"""The most confident mistakes of a report, with their pictures embedded as data."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .metrics import Report

COUNT = 12
SIDE = 320  # pixels of an embedded picture


def most_confident(report: Report, pictures: Callable[[int], np.ndarray | None] | None) -> list[dict[str, Any]]:
    """The wrong answers with the largest probability, each with its picture where there is one."""
    wrong = np.flatnonzero(report.predicted != report.targets)
    order = wrong[np.argsort(-report.confidence[wrong], kind="stable")][:COUNT]
    return [
        {
            "path": report.names[index],
            "true": report.class_names[report.targets[index]],
            "predicted": report.class_names[report.predicted[index]],
            "confidence": float(report.confidence[index]),
            "picture": _data_uri(pictures, int(index)),
        }
        for index in order
    ]


def _data_uri(pictures: Callable[[int], np.ndarray | None] | None, index: int) -> str | None:
    from PIL import Image

    try:
        picture = None if pictures is None else pictures(index)
    except (OSError, ValueError):
        picture = None  # a file that has gone since: the mistake is still told
    if picture is None:
        return None
    pixels = np.asarray(picture, "uint8")
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    photo = image.mode == "RGB" and min(image.size) >= 64  # a small picture stays exact
    buffer = io.BytesIO()
    image.save(buffer, *(("JPEG",) if photo else ("PNG",)), quality=85)
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
