"""The demo's source task: letters and digits drawn from the fonts that Matplotlib carries, distorted like writing."""

import string
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

CHARACTERS = string.ascii_letters + string.digits
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
"""The 22 fonts whose files hold every letter and digit as such; the others hold symbols, sizes or nothing."""
HELD_OUT_FONTS = ("DejaVuSansMono", "DejaVuSerif-Italic", "STIXGeneralBol", "cmtt10")
TRAINING_FONTS = tuple(name for name in FONTS if name not in HELD_OUT_FONTS)

# Once a glyph is scaled to its box nobody can tell these apart, so they share a class (as EMNIST's merged split does).
_ALIKE = ("cC", "kK", "mM", "oO0", "pP", "sS", "uU", "vV", "wW", "xX", "yY", "zZ", "1lI", "ij")
_REPRESENTATIVE = {character: group[0] for group in _ALIKE for character in group}
CLASSES = tuple(dict.fromkeys(_REPRESENTATIVE.get(character, character) for character in CHARACTERS))
"""The classes of the source task, each named by its first character."""
_CELL, _GLYPH, SIZE = 64, 48, 32


def labels() -> np.ndarray:
    """The class index of each of `CHARACTERS`, shape (62,)."""
    return np.array([CLASSES.index(_REPRESENTATIVE.get(character, character)) for character in CHARACTERS])


@cache
def masters(fonts: tuple[str, ...] = FONTS) -> np.ndarray:
    """Each character of each font, 48 pixels high in a softly blurred cell: float32 (fonts, 62, 64, 64) in [0, 1]."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    cells = np.zeros((len(fonts), len(CHARACTERS), _CELL, _CELL), "float32")
    for row, name in enumerate(fonts):
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), 96)
        for column, character in enumerate(CHARACTERS):
            sheet = Image.new("L", (256, 256))
            ImageDraw.Draw(sheet).text((64, 64), character, fill=255, font=font)
            glyph = sheet.crop(sheet.getbbox())
            scale = min(_GLYPH / glyph.height, _GLYPH / glyph.width)
            width, height = max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))
            glyph = glyph.resize((width, height), Image.Resampling.BOX)
            cell = Image.new("L", (_CELL, _CELL))
            cell.paste(glyph, ((_CELL - width) // 2, (_CELL - height) // 2))
            cells[row, column] = np.asarray(cell.filter(ImageFilter.GaussianBlur(2))) / np.float32(255)
    return cells


def draw_glyphs(count: int, *, seed: int, fonts: tuple[str, ...] = FONTS) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` distorted glyphs: pictures uint8 (count, 32, 32, 1), white on black, and class indices (count,).

    Equal seeds give equal pictures. Each is warped (turn, slant, stretch, a smooth random field), thickened or thinned,
    averaged down to 8x8 and 17 grey levels as scikit-learn's digits were (one in four to 16x16), then blown up again.
    """
    if unknown := [name for name in fonts if name not in FONTS]:
        raise ValueError(f"Fonts are names out of keras_transfer.demo.glyphs.FONTS. Received: {unknown}")
    rng = np.random.default_rng(seed)
    font, character = rng.integers(len(fonts), size=count), rng.integers(len(CHARACTERS), size=count)
    pictures = [
        _distort(masters(fonts)[font[part], character[part]], rng)
        for part in np.array_split(np.arange(count), max(1, count // 2048))
    ]
    return np.concatenate(pictures), labels()[character]


def _distort(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = len(cells)

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (count, 1, 1)).astype("float32")

    ink = _sample(cells, *_warped_grid(count, rng, uniform))
    # The cells are blurred edges, so the level at which ink begins is the thickness of the stroke.
    ink = np.clip((ink - uniform(0.08, 0.35)) * uniform(4, 12) + 0.5, 0, 1)
    coarse = ink.reshape(count, 8, 4, 8, 4).mean((2, 4))
    coarse = np.clip(coarse * uniform(0.85, 1.35) + rng.normal(0, 1, coarse.shape) * uniform(0, 0.06), 0, 1)
    small = _enlarge(np.round(coarse * 16) / 16)
    fine = _enlarge(ink.reshape(count, 16, 2, 16, 2).mean((2, 4)))
    pictures = np.where(uniform(0, 1) < 0.75, small, fine)
    return np.round(np.clip(pictures, 0, 1) * 255).astype("uint8")[..., None]


def _warped_grid(
    count: int, rng: np.random.Generator, uniform: Callable[[float, float], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Where in its cell each of the 32x32 pixels looks: rows and columns, (count, 32, 32) each."""
    axis = (np.arange(SIZE, dtype="float32") + 0.5) / SIZE * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle, slant = uniform(-0.3, 0.3), uniform(-0.35, 0.35)
    down, across = uniform(0.68, 0.92), uniform(0.68, 1.15)
    turned_y, turned_x = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    rows = turned_y * down + uniform(-0.08, 0.08)
    columns = (turned_x + slant * turned_y) * across + uniform(-0.12, 0.12)
    field = _enlarge(rng.normal(0, 1, (2 * count, 4, 4)).astype("float32")).reshape(2, count, SIZE, SIZE)
    strength = uniform(0, 0.20)
    half = _CELL / 2
    return (rows + strength * field[0]) * half + half - 0.5, (columns + strength * field[1]) * half + half - 0.5


def _sample(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear look-up, black outside the cell's border (the border itself is black)."""
    rows, columns = np.clip(rows, 0, _CELL - 1.001), np.clip(columns, 0, _CELL - 1.001)
    top, left = rows.astype("int32"), columns.astype("int32")
    down, right = rows - top, columns - left
    flat = cells.reshape(len(cells), -1)
    corner = (top * _CELL + left).reshape(len(cells), -1)

    def at(offset: int) -> np.ndarray:
        return np.take_along_axis(flat, corner + offset, 1).reshape(rows.shape)

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(_CELL) * (1 - right) + at(_CELL + 1) * right
    return upper * (1 - down) + lower * down


def _enlarge(pictures: np.ndarray) -> np.ndarray:
    """Bilinear enlargement of (n, k, k) to (n, 32, 32), pixel centres aligned as Pillow does."""
    matrix = _bilinear(pictures.shape[1])
    return matrix @ pictures.astype("float32") @ matrix.T


@cache
def _bilinear(size: int) -> np.ndarray:
    centres = np.clip((np.arange(SIZE) + 0.5) * size / SIZE - 0.5, 0, size - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(size)), 0, None).astype("float32")
