"""decode and resize against Pillow and NumPy by hand: boxes, EXIF, 16 bits, transparency; and what they import."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data.resize import UnreadablePicture, decode, load_picture, resize

BILINEAR = Image.Resampling.BILINEAR


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def png16(values: np.ndarray) -> bytes:
    """A 16-bit grey or RGB PNG, written by hand from the PNG specification."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, 0 if values.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def triangle_weights(old: int, new: int) -> np.ndarray:
    """Bilinear with antialiasing, from its definition: a triangle as wide as the scale, centred on each new pixel."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("old", "new"), [((30, 50), (16, 16)), ((17, 9), (32, 24)), ((64, 64), (64, 20))])
def test_squash_is_the_triangle_filter(old: tuple[int, int], new: tuple[int, int]) -> None:
    picture = noise(*old, 3)
    wanted = np.einsum(
        "hi,wj,ijc->hwc", triangle_weights(old[0], new[0]), triangle_weights(old[1], new[1]), picture.astype(float)
    )
    assert np.abs(resize(picture, new, "squash") - wanted).max() <= 1.01  # Pillow rounds after each of its two passes


# (height, width), N -> (height, width) after scaling, (top, left) of the cut; worked out by hand.
CROPS = [
    ((300, 500), 224, (256, 427), (16, 101)),  # 500 * 256 / 300 = 426.67
    ((500, 333), 224, (384, 256), (80, 16)),  # 500 * 256 / 333 = 384.38
    ((37, 91), 32, (37, 91), (2, 29)),  # round(32 / 0.875) = round(36.57) = 37
    ((224, 224), 96, (110, 110), (7, 7)),  # round(109.71) = 110
    ((100, 800), 28, (32, 256), (2, 114)),
]


@pytest.mark.parametrize(("old", "size", "scaled", "corner"), CROPS)
def test_crop_scales_the_shorter_side_and_cuts_the_centre(
    old: tuple[int, int], size: int, scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    picture = noise(*old, 3)
    whole = np.asarray(Image.fromarray(picture).resize(scaled[::-1], BILINEAR))
    top, left = corner
    np.testing.assert_array_equal(resize(picture, size, "crop"), whole[top : top + size, left : left + size])


def test_crop_of_a_very_long_picture_is_the_same_cut_within_one_level() -> None:
    picture = noise(10, 900, 3)
    whole = np.asarray(Image.fromarray(picture).resize((3330, 37), BILINEAR))  # 900 * 37 / 10
    cut = whole[2:34, 1649 : 1649 + 32].astype(int)
    assert np.abs(resize(picture, 32, "crop") - cut).max() <= 1
    assert resize(noise(1, 60000, 3), 224, "crop").shape == (224, 224, 3)


def test_crop_to_a_rectangle_covers_it() -> None:
    picture = noise(40, 40, 3)
    whole = np.asarray(
        Image.fromarray(picture).resize((64, 64), BILINEAR)
    )  # round(28 / .875), round(56 / .875) = 32, 64
    np.testing.assert_array_equal(resize(picture, (28, 56), "crop"), whole[18:46, 4:60])


# (height, width), N -> the picture's rows and columns inside the black square; worked out by hand.
PADS = [
    ((30, 50), 20, slice(4, 16), slice(0, 20)),  # 30 * 20 / 50 = 12
    ((50, 30), 20, slice(0, 20), slice(4, 16)),
    ((31, 50), 25, slice(4, 20), slice(0, 25)),  # 31 * 25 / 50 = 15.5 -> 16, margins 4 and 5
    ((1, 400), 10, slice(4, 5), slice(0, 10)),  # never less than one pixel
    ((8, 8), 8, slice(0, 8), slice(0, 8)),
]


@pytest.mark.parametrize(("old", "size", "rows", "columns"), PADS)
def test_pad_keeps_the_aspect_on_black(old: tuple[int, int], size: int, rows: slice, columns: slice) -> None:
    picture = noise(*old, 3)
    wanted = np.zeros((size, size, 3), np.uint8)
    inside = (columns.stop - columns.start, rows.stop - rows.start)
    wanted[rows, columns] = np.asarray(Image.fromarray(picture).resize(inside, BILINEAR))
    np.testing.assert_array_equal(resize(picture, size, "pad"), wanted)


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_each_channel_is_resized_like_a_grey_picture(how: str, channels: int) -> None:
    picture = noise(21, 34, channels)
    together = resize(picture, 16, how)
    assert together.shape == (16, 16, channels)
    for c in range(channels):
        np.testing.assert_array_equal(together[..., c], resize(picture[..., c], 16, how)[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations_come_out_upright(orientation: int) -> None:
    upright = noise(6, 9, 3)
    stored = {  # what a camera stores for this orientation, from the EXIF specification
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        content = encoded(np.ascontiguousarray(stored), kind, exif=exif)
        np.testing.assert_array_equal(decode(content), upright)
    smooth = encoded(
        np.ascontiguousarray(np.kron(stored, np.ones((16, 16, 1), np.uint8))), "JPEG", exif=exif, quality=95
    )
    assert np.abs(decode(smooth)[8::16, 8::16].astype(int) - upright).max() < 40


def test_a_damaged_exif_block_does_not_spoil_the_picture() -> None:
    picture = np.full((16, 16, 3), 90, np.uint8)
    content = encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.abs(decode(content).astype(int) - 90).max() <= 2


def test_sixteen_bit_grey_is_scaled_exactly() -> None:
    values = np.arange(65536).reshape(256, 256)
    wanted = np.floor(values * 255 / 65535 + 0.5)
    np.testing.assert_array_equal(decode(png16(values), 1)[..., 0], wanted)
    np.testing.assert_array_equal(decode(encoded(values.astype(np.uint16), "TIFF"), 3)[..., 2], wanted)


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 3))
    np.testing.assert_array_equal(decode(png16(values)), values // 256)


def test_alpha_is_laid_over_white_exactly() -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    wanted = np.floor((colour * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    rgba = np.stack([colour, 255 - colour, colour, alpha], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(decode(encoded(rgba))[..., 0], wanted)
    np.testing.assert_array_equal(decode(encoded(rgba), 4), rgba)
    grey = Image.merge("LA", [Image.fromarray(rgba[..., 0]), Image.fromarray(rgba[..., 3])])
    np.testing.assert_array_equal(decode(encoded(grey), 1)[..., 0], wanted)


def test_palettes_cmyk_bits_and_transparent_colours_become_rgb() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode(encoded(palette)), [[[10, 20, 30], [200, 100, 50]]])
    np.testing.assert_array_equal(decode(encoded(palette, transparency=0)), [[[255] * 3, [200, 100, 50]]])
    np.testing.assert_array_equal(decode(encoded(palette, "GIF", transparency=1)), [[[10, 20, 30], [255] * 3]])
    np.testing.assert_array_equal(decode(encoded(Image.new("1", (2, 2), 1))), np.full((2, 2, 3), 255))
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decode(encoded(cmyk, "JPEG", quality=95))[8, 8].astype(int) - [255, 0, 0]).max() <= 3
    assert decode(encoded(cmyk, "TIFF"), 4)[0, 0].tolist() == [255, 0, 0, 255]


def test_grey_is_the_luma_and_a_grey_picture_stays_itself() -> None:
    picture = noise(5, 7, 3)
    luma = picture.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(decode(encoded(picture), 1)[..., 0] - luma).max() <= 0.51
    grey = noise(5, 7)
    for channels in (1, 3):
        np.testing.assert_array_equal(decode(encoded(grey), channels), np.repeat(grey[..., None], channels, 2))


def test_path_text_and_bytes_are_the_same_picture(tmp_path: Path) -> None:
    picture = noise(20, 30, 3)
    file = tmp_path / "no suffix"
    file.write_bytes(encoded(picture))
    for source in (file, str(file), file.read_bytes()):
        np.testing.assert_array_equal(load_picture(source, 8, "pad"), resize(picture, 8, "pad"))


def test_a_picture_of_the_right_size_is_left_alone_and_not_shared() -> None:
    picture = noise(8, 8, 3)
    same = resize(picture, 8)
    np.testing.assert_array_equal(same, picture)
    same[0] = 0
    assert picture[0].any()


BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "text": (b"not a picture at all", "no picture in a known format"),
    "truncated png": (encoded(noise(40, 40, 3))[:900], "truncated"),
    "truncated jpeg": (encoded(noise(90, 90, 3), "JPEG")[:2000], "truncated"),
    "float tiff": (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point samples have no known range"),
    "32-bit tiff": (encoded(Image.new("I", (4, 4), 7), "TIFF"), "32-bit or signed samples have no known range"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no picture in a known format"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_does_not_decode_says_why(kind: str) -> None:
    content, reason = BAD_FILES[kind]
    with pytest.raises(UnreadablePicture, match=f"{reason}.*Received: ") as caught:
        decode(content)
    assert reason in caught.value.reason


@pytest.mark.parametrize("limit", [60, 110])  # Pillow itself raises above twice the limit, and only warns below
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_unreadable(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadablePicture, match=f"more than {limit} pixels"):
        decode(encoded(noise(11, 11)))


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match="there is no such file"):
        decode(tmp_path / "none.png")
    with pytest.raises(UnreadablePicture, match="it is not a file"):
        decode(tmp_path)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, (3,), (3, 0), (3, 4, 5), "224", None])
def test_a_wrong_image_size_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match=r"image_size must be .* Received: "):
        resize(noise(4, 4, 3), size)  # type: ignore[arg-type]


def test_wrong_pictures_ways_and_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected a uint8 picture .* Received: float64"):
        resize(np.zeros((4, 4, 3)), 2)
    with pytest.raises(ValueError, match=r"resize must be one of .*'pad'\. Received: 'stretch'"):
        resize(noise(4, 4, 3), 2, "stretch")
    with pytest.raises(ValueError, match="Received: channels=2"):
        decode(encoded(noise(4, 4)), 2)


def test_importing_it_imports_neither_tensorflow_nor_keras() -> None:
    code = "import sys, keras_transfer.data.resize; print({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
