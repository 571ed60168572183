"""The one way from pixels to pixels of a fixed size, with Pillow and NumPy alone; `load_picture` begins at the file."""

from pathlib import Path

import numpy as np
from PIL import Image

from .decoding import UnreadablePicture, decode, is_picture

__all__ = ["RESIZES", "UnreadablePicture", "check_image_size", "check_resize", "decode", "is_picture", "load_picture"]
__all__ += ["resize"]
RESIZES = ("squash", "crop", "pad")
CROP_SHARE = 0.875
MAX_STRETCH = 16  # a longer side than this many shorter ones is not scaled as a whole before the crop


def resize(picture: np.ndarray, image_size: int | tuple[int, int], how: str = "squash") -> np.ndarray:
    """Resize uint8 pixels (height, width[, channels]) to `image_size`, a number or (height, width), bilinearly.

    The filter is Pillow's, with its antialiasing. `squash` ignores the aspect. `crop` scales until the picture just
    covers `round(N / 0.875)` (for a square: the shorter side) and cuts the centre N x N. `pad` scales until the picture
    just fits and centres it on black. Where a margin is odd, the smaller half lies above and left.

    Example: `resize(decode("ant.jpg"), 224, "crop").shape`
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise ValueError(
            "Expected a uint8 picture of shape (height, width) or (height, width, channels). "
            f"Received: {picture.dtype} of shape {picture.shape}"
        )
    height, width = check_image_size(image_size)
    check_resize(how)
    picture = picture[..., None] if picture.ndim == 2 else picture
    old_height, old_width, channels = picture.shape
    if how == "squash":
        return _scale(picture, height, width)
    if how == "crop":
        goal_height, goal_width = round(height / CROP_SHARE), round(width / CROP_SHARE)
        scale = max(goal_height / old_height, goal_width / old_width)
        tall, wide = max(goal_height, round(old_height * scale)), max(goal_width, round(old_width * scale))
        top, left = (tall - height) // 2, (wide - width) // 2
        if tall * wide <= MAX_STRETCH * goal_height * goal_width:
            return np.ascontiguousarray(_scale(picture, tall, wide)[top : top + height, left : left + width])
        # A 1 x 10,000 picture: the cut in the old picture's coordinates (within one grey level), without a giant copy.
        x, y = old_width / wide, old_height / tall
        return _scale(picture, height, width, (left * x, top * y, (left + width) * x, (top + height) * y))
    scale = min(height / old_height, width / old_width)
    tall, wide = min(height, max(1, round(old_height * scale))), min(width, max(1, round(old_width * scale)))
    top, left = (height - tall) // 2, (width - wide) // 2
    padded = np.zeros((height, width, channels), np.uint8)
    padded[top : top + tall, left : left + wide] = _scale(picture, tall, wide)
    return padded


def load_picture(
    source: str | Path | bytes, image_size: int | tuple[int, int], how: str = "squash", channels: int = 3
) -> np.ndarray:
    """Decode and resize in one call: uint8 of shape (height, width, channels)."""
    return resize(decode(source, channels), image_size, how)


def check_image_size(image_size: object) -> tuple[int, int]:
    """`image_size` as (height, width); one number means a square."""
    pair = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(pair) == 2 and all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in pair):
        return int(pair[0]), int(pair[1])
    raise ValueError(f"image_size must be a positive whole number, or (height, width). Received: {image_size!r}")


def check_resize(how: object) -> str:
    """`how` if it names a way to resize."""
    if how not in RESIZES:
        raise ValueError(f"resize must be one of {', '.join(map(repr, RESIZES))}. Received: {how!r}")
    return str(how)


def _scale(
    picture: np.ndarray, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Pillow's bilinear (with its antialiasing), grey and RGB in one go, other channel counts plane by plane."""
    if picture.shape[2] == 3:
        return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box))
    planes = [Image.fromarray(np.ascontiguousarray(picture[..., c])) for c in range(picture.shape[2])]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR, box)) for p in planes], axis=-1)
