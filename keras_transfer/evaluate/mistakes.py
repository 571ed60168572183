"""The most confident mistakes of a report, with their pictures embedded as data, or their texts."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .metrics import Report

COUNT = 12
SIDE = 320  # pixels of an embedded picture


def most_confident(report: Report, samples: Callable[[int], np.ndarray | str | None] | None) -> list[dict[str, Any]]:
    """The wrong answers with the largest probability, each with its picture or its text where there is one."""
    wrong = np.flatnonzero(report.predicted != report.targets)
    order = wrong[np.argsort(-report.confidence[wrong], kind="stable")][:COUNT]
    found = {int(index): _sample(samples, int(index)) for index in order}
    return [
        {
            "path": report.names[index],
            "true": report.class_names[report.targets[index]],
            "predicted": report.class_names[report.predicted[index]],
            "confidence": float(report.confidence[index]),
            "picture": None if isinstance(sample, str) else _data_uri(sample),
            "text": sample if isinstance(sample, str) else None,
        }
        for index, sample in found.items()
    ]


def _sample(samples: Callable[[int], np.ndarray | str | None] | None, index: int) -> np.ndarray | str | None:
    try:
        return None if samples is None else samples(index)
    except (OSError, ValueError):
        return None  # a file that has gone since: the mistake is still told


def _data_uri(picture: np.ndarray | None) -> str | None:
    """A picture as data in the page."""
    from PIL import Image

    if picture is None:
        return None
    pixels = np.asarray(picture, "uint8")
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    photo = image.mode == "RGB" and min(image.size) >= 64  # a small picture stays exact
    buffer = io.BytesIO()
    image.save(buffer, *(("JPEG",) if photo else ("PNG",)), quality=85)
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
