"""The one way from a file to pixels: decode upright, and say what kind of file it was; Pillow and NumPy alone."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Formats that hold photos and need no other program: EPS (Ghostscript) and the like are not opened at all.
FORMATS = ["AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA"]
FORMATS += ["TIFF", "WEBP"]
FAMILY = {
    "MPO": "JPEG",
    "DIB": "BMP",
}  # a photo of a phone with a second picture behind the first is a JPEG to everyone
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
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
    """A file that does not decode to a picture; `.reason` says why in a few words, `.kind` in one.

    kind: "empty_file", "not_a_picture", "truncated", "damaged", "bomb", "unknown_range" or "not_a_file".
    """

    def __init__(self, source: object, reason: str, kind: str = "damaged"):
        self.reason, self.kind = reason, kind
        super().__init__(f"Expected a picture that Pillow decodes; {reason}. Mend or remove it. Received: {source}")


class _Refused(Exception):  # noqa: N818
    """What `decode` itself refuses: reason and kind."""


@dataclass(frozen=True)
class Facts:
    """What a file is, beside its pixels: its format, and the traits that decoding evens out.

    traits: of "cmyk", "sixteen_bit", "palette", "transparent", "animated", "rotated" and "wrong_extension".
    """

    format: str
    traits: tuple[str, ...]


def decode(source: str | Path | bytes, channels: int = 3) -> np.ndarray:
    """Decode a picture file, or its bytes, to upright uint8 pixels of shape (height, width, channels).

    The EXIF orientation is applied. `channels` is 1 (grey, ITU-R 601 luma), 3 (RGB) or 4 (RGBA); below 4, transparency
    is laid over white, `round((c a + 255 (255 - a)) / 255)`. Palette and CMYK become RGB; colour profiles are not
    applied. 16-bit grey is scaled by `round(255 v / 65535)`; of 16-bit colour Pillow gives the high byte. Of an
    animation the first frame counts. Raises `UnreadablePicture` for whatever does not decode: a damaged file, more
    pixels than Pillow's `MAX_IMAGE_PIXELS`, 32-bit or floating-point samples, whose range is not known.

    Example: `decode("ant.jpg").shape`
    """
    return as_pixels(inspect(source, channels)[0])


def as_pixels(image: Image.Image) -> np.ndarray:
    """A grey, RGB or RGBA image as uint8 (height, width, channels)."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def inspect(source: str | Path | bytes, channels: int = 3) -> tuple[Image.Image, Facts]:
    """What `decode` gives, still as Pillow's image, and what the file is; the facts cost nothing beside the decoding.

    Example: `image, facts = inspect("ant.jpg"); facts.traits`
    """
    if channels not in _MODES:
        raise ValueError(f"A picture has 1 (grey), 3 (RGB) or 4 (RGBA) channels. Received: channels={channels!r}")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        return _inspect(source, channels)
    except _Refused as refused:
        raise UnreadablePicture(name, *refused.args) from None
    except UnidentifiedImageError:
        if _beginning(source).startswith(BEGINNINGS):
            raise UnreadablePicture(name, "its header is damaged, no picture can be read from it") from None
        raise UnreadablePicture(name, "it is no picture in a known format", "not_a_picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadablePicture(name, _bomb(), "bomb") from None
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged data
        reason = str(error) or type(error).__name__
        kind = "truncated" if "truncated" in reason.lower() else "damaged"
        raise UnreadablePicture(name, reason.splitlines()[0].rstrip(".")[:160], kind) from error


def is_picture(path: Path) -> bool:
    """Whether a file says that it is a picture, by its first bytes or its suffix; it need not be a sound one."""
    if Image.registered_extensions().get(path.suffix.lower()) in FORMATS:
        return True
    try:
        with Image.open(path, formats=_formats()):
            return True
    except Exception:
        return False


def _formats() -> list[str]:
    """Those of `FORMATS` that this build of Pillow has."""
    return [name for name in FORMATS if name in Image.OPEN]


def _bomb() -> str:
    return f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"


def _beginning(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:8]
    try:
        with open(source, "rb") as file:
            return file.read(8)
    except OSError:
        return b""


def _inspect(source: str | Path | bytes, channels: int) -> tuple[Image.Image, Facts]:
    file: io.BytesIO | Path
    if isinstance(source, bytes):
        size, file, suffix = len(source), io.BytesIO(source), None
    else:
        path = Path(source)
        if not path.is_file():  # also keeps us from waiting on a pipe
            raise _Refused("it is not a file" if path.exists() else "there is no such file", "not_a_file")
        size, file, suffix = path.stat().st_size, path, path.suffix.lower()
    if not size:
        raise _Refused("the file is empty", "empty_file")
    with Image.open(file, formats=_formats()) as image:
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise _Refused(_bomb(), "bomb")
        traits = {"animated": _animated(image), "sixteen_bit": _sixteen_bit(image), "cmyk": image.mode == "CMYK"}
        traits |= {"palette": image.mode in ("P", "PA"), "wrong_extension": _misnamed(image.format, suffix)}
        stored = getattr(image, "tag_v2", {}).get(_ORIENTATION)  # a TIFF, which Pillow turns as it loads
        image.load()
        turn = _orientation(image)
        traits |= {"rotated": turn in _UPRIGHT or stored in _UPRIGHT}
        eight = _eight_bits(image)
        upright = eight.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else eight
        flat, traits["transparent"] = _flat(upright, channels)
        return flat, Facts(str(image.format), tuple(sorted(name for name, there in traits.items() if there)))


def _animated(image: Image.Image) -> bool:
    """More than one frame or page; the second picture that phones hide in a JPEG is none."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _sixteen_bit(image: Image.Image) -> bool:
    """More than 8 bits a sample; asked before the pixels are loaded, because Pillow then forgets how they were stored."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return True
    if image.format == "PNG":
        return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return any(8 < bits <= 16 for bits in getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ()))


def _misnamed(kind: str | None, suffix: str | None) -> bool:
    """Whether the suffix names another format than the file has, or none; bytes have no name that could be wrong."""
    named = Image.registered_extensions().get(suffix or "", "")
    return suffix is not None and FAMILY.get(named, named) != FAMILY.get(str(kind), kind)


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
        raise _Refused(f"its {kind} samples have no known range; save it with 8 or 16 bits", "unknown_range")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    tags = getattr(image, "tag_v2", {})
    top = (1 << tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1  # a TIFF may hold 12 bits
    return Image.fromarray(((values * 510 + top) // (2 * top)).clip(0, 255).astype(np.uint8))


def _flat(image: Image.Image, channels: int) -> tuple[Image.Image, bool]:
    """The image in the wanted number of channels, over white below four; and whether anything shone through."""
    transparent = False
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        picture = np.asarray(image.convert("RGBA")).astype(np.uint16)
        alpha = picture[..., 3:]
        transparent = bool(alpha.min() < 255)
        if channels < 4:
            white = (picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
            image = Image.fromarray(white.astype(np.uint8))
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels]), transparent
