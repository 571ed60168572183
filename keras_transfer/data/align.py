"""Lay one thumbnail over another: shift, scale and brightness by Gauss-Newton, many pairs at once, and how well it fits."""

import numpy as np

REACH = (0.75, 0.3)  # scales from 0.75 to 1 / 0.75, shifts up to 0.3 half widths: a tenth cut off on either side
LONGEST_STEP = 0.12


def align(moved: np.ndarray, still: np.ndarray, steps: int, start: np.ndarray | None = None) -> np.ndarray:
    """The window (p, 4) that makes `moved` (p, s, s) look like `still`: scale and shift in x, then in y.

    Coordinates run from -1 to 1 over a picture; pixel x of `still` is x * scale + shift of `moved`. Minimises the sum
    over the common part of `(c moved(window) + o - still)^2`, with contrast c and offset o free (Lucas & Kanade 1981,
    with the gain of Baker & Matthews 2004), from `start` or the whole picture, in `steps` Gauss-Newton steps.
    """
    window = np.tile(np.array([1, 0, 1, 0], np.float32), (len(moved), 1)) if start is None else start
    low = np.array([REACH[0], -REACH[1]] * 2, np.float32)
    high = np.array([1 / REACH[0], REACH[1]] * 2, np.float32)
    for _ in range(steps):
        window = np.clip(window + _step(moved, still, window), low, high)
    return window


def correlation(moved: np.ndarray, still: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The correlation of grey levels (p,) in the common part; blind to brightness and contrast."""
    seen, _, _, weight = _look(moved, window)
    return _cosine(_centred(seen, weight), _centred(still, weight))


def agreement(moved: np.ndarray, still: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike the pair is in its common part, (p,) twice in -1..1: correlation of grey levels, and of their outlines.

    The first sees large shapes, which unrelated pictures share (a bright brain on black, a ship under the sky); the
    second sees the outlines, which they do not. One picture is first taken through the cubic tone curve that brings it
    nearest to the other, so that neither gamma nor blown highlights count; the better direction is the answer, since
    what is blown in one picture can only be had from the other.
    """
    seen, _, _, weight = _look(moved, window)
    corners = (weight[:, 1:, 1:] * weight[:, :-1, :-1] * weight[:, 1:, :-1] * weight[:, :-1, 1:])[:, None]
    both = []
    for source, goal in ((seen, still), (still, seen)):
        toned = _toned(source, goal, weight)
        greys = _cosine(_centred(toned, weight), _centred(goal, weight))
        both.append((greys, _cosine(_outlines(toned) * corners, _outlines(goal) * corners)))
    (greys, outlines), (greys_back, outlines_back) = both
    better = outlines >= outlines_back
    return np.where(better, greys, greys_back), np.where(better, outlines, outlines_back)


def _toned(source: np.ndarray, goal: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`source` through the cubic of grey levels nearest to `goal`; a little ridge keeps it tame."""
    grey = source.reshape(len(source), -1)
    powers = np.stack([np.ones_like(grey), grey, grey**2, grey**3], axis=1)
    weighted = powers * weight.reshape(len(source), 1, -1)
    square = (weighted @ powers.transpose(0, 2, 1)).astype(np.float64)
    square += np.eye(4) * (2.5e-4 * np.trace(square, axis1=1, axis2=2)[:, None, None] + 1e-9)
    curve = np.linalg.solve(square, (weighted @ goal.reshape(len(goal), -1, 1)).astype(np.float64))
    return (curve.transpose(0, 2, 1).astype(np.float32) @ powers).reshape(source.shape)


def _centred(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    shares = weight / np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1)
    return (x - (x * shares).sum(axis=(1, 2), keepdims=True)) * weight


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1) + 1e-6)


def _outlines(x: np.ndarray) -> np.ndarray:
    """Differences in x and y, (p, 2, s - 1, s - 1), of the picture smoothed by 1 2 1, so that no single pixel decides."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), "edge")
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    x = (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4
    return np.stack([x[:, 1:, 1:] - x[:, 1:, :-1], x[:, 1:, 1:] - x[:, :-1, 1:]], axis=1)


def _step(moved: np.ndarray, still: np.ndarray, window: np.ndarray) -> np.ndarray:
    """One step: `still ~ c seen + o + c J d` is linear in (c d, c, o); d is read off."""
    pairs, side = len(moved), moved.shape[1]
    seen, in_x, in_y, weight = _look(moved, window)
    at = _centres(side)
    columns = np.stack([in_x * at, in_x, in_y * at[:, None], in_y, seen, np.ones_like(seen)], axis=1)
    columns = columns.reshape(pairs, 6, side * side)
    weighted = columns * weight.reshape(pairs, 1, side * side)
    square = (weighted @ columns.transpose(0, 2, 1)).astype(np.float64)
    square += np.eye(6) * (1e-6 * np.trace(square, axis1=1, axis2=2)[:, None, None] + 1e-9)
    right = (weighted @ still.reshape(pairs, side * side, 1)).astype(np.float64)
    solved = np.linalg.solve(square, right)[..., 0]
    contrast = np.where(np.abs(solved[:, 4:5]) < 0.1, 0.1, solved[:, 4:5])
    return np.clip(solved[:, :4] / contrast, -LONGEST_STEP, LONGEST_STEP).astype(np.float32)


def _centres(side: int) -> np.ndarray:
    return ((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1


def _look(x: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is seen through the window, bilinearly; its slopes in x and y; and 1 where the window is inside the picture.

    Sampling is a matrix to the left (rows) and one to the right (columns): fifty times faster than to gather pixels.
    """
    across, slope_x, in_x = _matrices(window[:, 0:1], window[:, 1:2], x.shape[1])
    down, slope_y, in_y = _matrices(window[:, 2:3], window[:, 3:4], x.shape[1])
    rows, columns = down @ x, across.transpose(0, 2, 1)
    weight = in_y[:, :, None] * in_x[:, None, :]
    return rows @ columns, rows @ slope_x.transpose(0, 2, 1), slope_y @ x @ columns, weight


def _matrices(scale: np.ndarray, shift: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For one direction: weights and slopes (p, side, side) of the old pixels in the new, and which of these are inside."""
    at = _centres(side) * scale + shift
    place = np.clip((at + 1) * side / 2 - 0.5, 0, side - 1.001)[:, :, None]
    cell, old = np.floor(place), np.arange(side, dtype=np.float32)
    weights = np.maximum(0, 1 - np.abs(place - old))
    slopes = ((old == cell + 1).astype(np.float32) - (old == cell)) * np.float32(side / 2)
    return weights, slopes, (np.abs(at) <= 1).astype(np.float32)
