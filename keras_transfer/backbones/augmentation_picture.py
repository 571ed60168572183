"""What each level of augmentation does to your pictures, as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..core.plot import Plot
from .augmentation import LEVELS, augmentation_layers

_SIDE = 1.35  # of a picture, in inches


def show_augmentation(
    pictures: Any, levels: Sequence[str] = tuple(LEVELS)[1:], views: int = 6, *, size: int = 224, seed: int = 0
) -> Figure:
    """Views of pictures as training sees them: a row a picture and level, the picture as it is in the first column.

    pictures: pixels 0..255, (h, w, C) or (B, h, w, C), or a file, or a list of files, which are read at `size` pixels.
    levels: of `"light"`, `"medium"`, `"strong"`. views: random views in a row. Raises `ValueError` for other pictures.

    Example: `kt.backbones.show_augmentation("ant.jpg")`
    """
    shown = _pixels(pictures, size)
    words = [levels] if isinstance(levels, str) else list(levels)
    if not words or views < 1:
        raise ValueError(f"There must be a level and a view to show. Received: levels={levels!r}, views={views!r}")
    rows = []
    for picture in shown:
        for level in words:
            layers = augmentation_layers(level, seed=seed)
            copies = np.repeat(picture[None], views, axis=0)
            rows.append((level, picture, copies if layers is None else np.asarray(layers(copies, training=True))))
    figure = Plot(figsize=(_SIDE * (views + 1), (_SIDE + 0.08) * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), views + 1, squeeze=False)
    for row, (axes, (level, picture, several)) in enumerate(zip(grid, rows, strict=True)):
        for column, (axis, one) in enumerate(zip(axes, [picture, *several], strict=True)):
            pixels = np.rint(one).astype("uint8")
            axis.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if row == 0 and column == 0:
                axis.set_title("as it is", fontsize=9)
        axes[0].set_ylabel(level, fontsize=9)
    return figure


def _pixels(pictures: Any, size: int) -> list[np.ndarray]:
    """Each picture as float32 (h, w, C)."""
    if isinstance(pictures, (str, Path)):
        pictures = [pictures]
    if isinstance(pictures, (list, tuple)) and pictures and all(isinstance(one, (str, Path)) for one in pictures):
        from ..data.resize import load_picture

        return [np.asarray(load_picture(one, size, "crop"), "float32") for one in pictures]
    array = np.asarray(pictures)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4) or not len(array) or array.dtype.kind not in "uif":
        raise ValueError(
            "Pictures to show are files, or pixels of shape (h, w, C) or (B, h, w, C) with 1, 3 or 4 channels. "
            f"Received: {type(pictures).__name__} of shape {array.shape}"
        )
    scaled = array.dtype.kind == "f" and 0 < array.max() <= 1
    if scaled or array.min() < 0 or array.max() > 255:
        raise ValueError(f"Pixels must be in 0..255. Received: values in {array.min():g}..{array.max():g}")
    return list(array.astype("float32"))
