"""The one way from a file to pixels of a fixed size: decode and resize, with Pillow and NumPy alone."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

RESIZES = ("squash", "crop", "pad")
CROP_SHARE = 0.875
MAX_STRETCH = 16  # a longer side than this many shorter ones is not scaled as a whole before the crop
# Formats that hold photos and need no other program: EPS (Ghostscript) and the like are not opened at all.
FORMATS = ["AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA"]
FORMATS += ["TIFF", "WEBP"]
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Image.init()  # all plugins now, once: later, threads would race for it


class UnreadablePicture(ValueError):  # noqa: N818
    """A file that does not decode to a picture; `.reason` says why in a few words."""

    def __init__(self, source: object, reason: str):
        self.reason = reason
        super().__init__(f"Expected a picture that Pillow decodes; {reason}. Mend or remove it. Received: {source}")


def decode(source: str | Path | bytes, channels: int = 3) -> np.ndarray:
    """Decode a picture file, or its bytes, to upright uint8 pixels of shape (height, width, channels).

    The EXIF orientation is applied. `channels` is 1 (grey, ITU-R 601 luma), 3 (RGB) or 4 (RGBA); below 4, transparency
    is laid over white, `round((c a + 255 (255 - a)) / 255)`. Palette and CMYK become RGB; colour profiles are not
    applied. 16-bit grey is scaled by `round(255 v / 65535)`; of 16-bit colour Pillow gives the high byte. Of an
    animation the first frame counts. Raises `UnreadablePicture` for whatever does not decode: a damaged file, more
    pixels than Pillow's `MAX_IMAGE_PIXELS`, 32-bit or floating-point samples, whose range is not known.

    Example: `decode("ant.jpg").shape`
    """
    if channels not in _MODES:
        raise ValueError(f"A picture has 1 (grey), 3 (RGB) or 4 (RGBA) channels. Received: channels={channels!r}")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        return _decode(source, channels)
    except UnidentifiedImageError:
        raise UnreadablePicture(name, "it is no picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadablePicture(name, _bomb()) from None
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged data
        reason = str(error) or type(error).__name__
        raise UnreadablePicture(name, reason.splitlines()[0].rstrip(".")[:160]) from error


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


def is_picture(path: Path) -> bool:
    """Whether a file says that it is a picture, by its first bytes or its suffix; it need not be a sound one."""
    if Image.registered_extensions().get(path.suffix.lower()) in FORMATS:
        return True
    try:
        with Image.open(path, formats=_formats()):
            return True
    except Exception:
        return False


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


def _formats() -> list[str]:
    """Those of `FORMATS` that this build of Pillow has."""
    return [name for name in FORMATS if name in Image.OPEN]


def _bomb() -> str:
    return f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"


def _decode(source: str | Path | bytes, channels: int) -> np.ndarray:
    file: io.BytesIO | Path
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    else:
        path = Path(source)
        if not path.is_file():  # also keeps us from waiting on a pipe
            raise OSError("it is not a file" if path.exists() else "there is no such file")
        size, file = path.stat().st_size, path
    if not size:
        raise OSError("the file is empty")
    with Image.open(file, formats=_formats()) as image:
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise OSError(_bomb())
        image.load()
        upright = _UPRIGHT.get(_orientation(image))
        eight = _eight_bits(image)
        return _pixels(eight if upright is None else eight.transpose(upright), channels)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; a damaged EXIF block does not spoil the picture."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Samples of 16 bits scaled to 8; refuse those without a known range."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise ValueError(f"its {kind} samples have no known range; save it with 8 or 16 bits")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    tags = getattr(image, "tag_v2", {})
    top = (1 << tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1  # a TIFF may hold 12 bits
    return Image.fromarray(((values * 510 + top) // (2 * top)).clip(0, 255).astype(np.uint8))


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    """Pixels in the wanted number of channels, transparency over white below four."""
    if channels < 4 and (image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info):
        picture = np.asarray(image.convert("RGBA")).astype(np.uint16)
        alpha = picture[..., 3:]
        white = (picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
        image = Image.fromarray(white.astype(np.uint8))
    pixels = np.asarray(image if image.mode == _MODES[channels] else image.convert(_MODES[channels]))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _scale(
    picture: np.ndarray, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Pillow's bilinear (with its antialiasing), grey and RGB in one go, other channel counts plane by plane."""
    if picture.shape[2] == 3:
        return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box))
    planes = [Image.fromarray(np.ascontiguousarray(picture[..., c])) for c in range(picture.shape[2])]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR, box)) for p in planes], axis=-1)
