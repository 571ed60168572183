"""Near-duplicates: the same photo saved again, resized, cut a little at its edges, brightened, greyed or mirrored."""

import numpy as np
from PIL import Image

from .align import agreement, align, correlation

SIDE = 32  # of a thumbnail; pictures that are smaller are not compared, because they hold too little to tell twins by
FREQUENCIES = 6  # half waves over the picture that the descriptor sees: 34 numbers
ALIKE = 0.6  # cosine of descriptors from which a pair is looked at; copies cut by a twentieth have 0.8, strangers 0.2
CANDIDATES = 200_000  # pairs that are looked at, at most, shared out among the pictures; at least 8 for each
COMMON = 100  # pictures from which on the mean descriptor counts half
COARSE = 0.85  # correlation of the aligned 16 x 16 thumbnails below which a pair is dropped
GREYS, OUTLINES = 0.93, 0.965  # correlations of the aligned 32 x 32 thumbnails that make a near-duplicate
FLAT = 4.0  # standard deviation in grey levels below which a picture shows nothing to compare
CELLS, PAIRS = 2_000_000, 512  # at once: memory stays at some tens of megabytes


def thumbnail(picture: np.ndarray | Image.Image) -> np.ndarray:
    """Grey 32 x 32, squashed, of Pillow's image or a uint8 picture (height, width, channels)."""
    if isinstance(picture, np.ndarray):
        planes = picture[..., 0] if picture.shape[-1] == 1 else picture[..., :3]
        picture = Image.fromarray(np.ascontiguousarray(planes))
    grey = picture if picture.mode == "L" else picture.convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def near_duplicates(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of thumbnails (n, 32, 32) that show one photo; of many twins as many as join them.

    First the cosine of two descriptors (the lowest cosine frequencies, each weighted by its frequency, because the
    spectrum of photos falls like 1 / f: Field 1987; less what all pictures share, for brains are alike) finds
    candidates, in blocks of matrix products. Then each candidate is laid over its partner (`align`), as it is and
    mirrored, and must agree in grey levels and in outlines. A photo of another moment, or of another brain, does not.

    Example: `near_duplicates(np.stack([thumbnail(picture) for picture in pictures]))`
    """
    x = np.asarray(thumbnails, np.float32)
    rows = np.flatnonzero(x.std(axis=(1, 2)) >= FLAT) if len(x) else np.zeros(0, np.intp)
    x = x[rows]
    x -= x.mean(axis=(1, 2), keepdims=True)
    x /= x.std(axis=(1, 2), keepdims=True)
    plain = _descriptors(x)
    common = plain.sum(axis=0) / (len(x) + COMMON)
    found: set[tuple[int, int]] = set()
    joined = np.arange(len(x))  # one number for all that are known to be twins: a film needs no look at every pair
    for mirrored in (False, True):
        # Mirroring turns the sign of every odd frequency in x, and nothing else.
        pairs = _candidates(_unit(plain - common), _unit((plain * _ODD_SIGNS if mirrored else plain) - common))
        while len(pairs := pairs[joined[pairs[:, 0]] != joined[pairs[:, 1]]]):
            some, pairs = pairs[:PAIRS], pairs[PAIRS:]
            still = x[some[:, 1]]
            same = _same(x[some[:, 0]], still[:, :, ::-1] if mirrored else still)
            for i, j in some[same]:
                found.add((int(rows[i]), int(rows[j])))
                joined[joined == joined[j]] = joined[i]
    return sorted(found)


def groups(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Pairs joined to groups: whoever is a twin of a twin belongs to them; groups and members in order."""
    group_of: dict[int, list[int]] = {}
    for i, j in pairs:
        a, b = group_of.setdefault(i, [i]), group_of.setdefault(j, [j])
        if a is not b:
            a += b
            group_of.update(dict.fromkeys(b, a))
    return sorted(sorted(group) for group in {id(group): group for group in group_of.values()}.values())


def _same(moved: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Which pairs agree once aligned: first at half the size, where most strangers are told, then in full."""
    good = np.zeros(len(moved), bool)
    small, small_still = _halved(moved), _halved(still)
    window = align(small, small_still, steps=6)
    rest = np.flatnonzero(correlation(small, small_still, window) >= COARSE)
    if len(rest):
        moved, still = moved[rest], still[rest]
        greys, outlines = agreement(moved, still, align(moved, still, steps=5, start=window[rest]))
        good[rest] = (greys >= GREYS) & (outlines >= OUTLINES)
    return good


def _halved(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))


def _candidates(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pairs (i, j), i < j, with a cosine of at least `ALIKE`, for each i the best of them."""
    most = max(8, CANDIDATES // max(1, len(left)))
    chosen = [np.zeros((0, 2), np.intp)]
    step = max(1, CELLS // max(1, len(left)))
    for start in range(0, len(left), step):
        alike = left[start : start + step] @ right[start:].T
        alike[np.tril_indices(len(alike), m=alike.shape[1])] = -1
        i, j = np.nonzero(alike >= ALIKE)
        order = np.lexsort((-alike[i, j], i))
        i, j = i[order], j[order]
        rank = np.arange(len(i)) - np.searchsorted(i, i)
        keep = rank < most
        chosen.append(np.stack([i[keep], j[keep]], axis=1) + start)
    return np.concatenate(chosen)


def _waves() -> np.ndarray:
    """The orthonormal cosine transform (DCT-II), (frequencies, pixels)."""
    frequency, pixel = np.arange(SIDE)[:, None], np.arange(SIDE)
    waves = np.cos(np.pi * frequency * (2 * pixel + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


_WAVES = _waves()[: FREQUENCIES + 1]
_RADIUS = np.hypot(*np.indices((FREQUENCIES + 1, FREQUENCIES + 1))).astype(np.float32)
_USED = (_RADIUS > 0) & (_RADIUS <= FREQUENCIES)
_ODD_SIGNS = np.where(np.indices(_USED.shape)[1][_USED] % 2, -1, 1).astype(np.float32)


def _descriptors(x: np.ndarray) -> np.ndarray:
    """The weighted low frequencies of each thumbnail, (n, 34), of length 1."""
    return _unit((_WAVES @ x @ _WAVES.T)[:, _USED] * _RADIUS[_USED])


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
