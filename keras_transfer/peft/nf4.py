"""4-bit NormalFloat with double quantisation: sixteen levels, blocks of 64, and scales that are themselves 8 bits."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

BLOCK, GROUP = 64, 256  # weights that share a scale, and scales that share a span

# Dettmers et al. 2023, appendix E: quantiles of the standard normal, scaled to [-1, 1], with an exact zero.
LEVELS = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    dtype="float32",
)
PAIRS = np.stack([LEVELS[np.arange(256) >> 4], LEVELS[np.arange(256) & 15]], axis=-1)  # a byte's two weights


def _dynamic_map() -> np.ndarray:
    """The 256 values of bitsandbytes' signed dynamic map: seven decades, 1 to 64 means in each, zero and one.

    The scales of real kernels have outliers: with a linear map a feed-forward kernel of MiniLM lost 4 % more than with
    exact scales, with this one 0.2 %.
    """
    values = [0.0, 1.0]
    for decade in range(7):
        edges = np.linspace(0.1, 1.0, 2**decade + 1)
        means = 10.0 ** (decade - 6) * (edges[1:] + edges[:-1]) / 2
        values += [*means, *-means]
    return np.sort(values).astype("float32")


SCALES = _dynamic_map()


class Packed(NamedTuple):
    """A kernel in NF4: what a layer keeps as weights, and what the method calls them in the paper.

    codes   uint8 (ceil(n / 64) * 32,): two weights a byte, the first in the high half; c of the paper
    scales  uint8 (ceil(n / 64),): places in `SCALES`; c2
    spans   float32 (ceil(blocks / 256),): c1
    offset  float32 (): the mean of the scales, taken off before they are quantised
    """

    codes: np.ndarray
    scales: np.ndarray
    spans: np.ndarray
    offset: np.ndarray


def sizes(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the four parts for a kernel of that shape."""
    blocks = -(-math.prod(shape) // BLOCK)
    return {"codes": (blocks * BLOCK // 2,), "scales": (blocks,), "spans": (-(-blocks // GROUP),), "offset": ()}


def bits_per_weight(shape: tuple[int, ...]) -> float:
    """What a kernel of that shape costs, everything counted: 4 + 8/64 + 32/(64 * 256) and the offset.

    Example: `bits_per_weight((768, 3072))` gives 4.127
    """
    parts = sizes(shape)
    count = {name: math.prod(size) for name, size in parts.items()}
    bits = 8 * (count["codes"] + count["scales"]) + 32 * (count["spans"] + count["offset"])
    return bits / math.prod(shape)


def pack(kernel: Any) -> Packed:
    """Quantise a kernel: each block of 64 weights over its largest magnitude, to the nearest of the sixteen levels.

    Dettmers et al. 2023, QLoRA (arXiv:2305.14314): `code_i = argmin_j |w_i / max|w_block| - level_j|`, the lower of two
    equally near; the largest magnitudes, less their mean, go to 8 bits in blocks of 256, over bitsandbytes' dynamic map.
    Weights are taken in the kernel's own order; a last block that is not full is filled with zeros.

    kernel: float array of any shape. Raises `ValueError` where it is empty, or holds NaN or infinity.

    Example: `unpack(pack(kernel), kernel.shape)`
    """
    flat = np.asarray(ops.convert_to_numpy(kernel), dtype="float32").reshape(-1)
    if not flat.size:
        raise ValueError(f"A kernel to quantise must hold weights. Received: shape {tuple(np.shape(kernel))}")
    if not np.isfinite(flat).all():
        raise ValueError(
            "A kernel to quantise must be finite; train again from a checkpoint before the NaN. Received: "
            f"{int((~np.isfinite(flat)).sum())} weights of {flat.size} that are NaN or infinite"
        )
    blocks = np.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)
    largest = np.abs(blocks).max(axis=1)
    codes = _nearest(LEVELS, blocks / np.where(largest > 0, largest, 1)[:, None])
    offset = largest.mean(dtype="float64").astype("float32")
    apart = np.pad(largest - offset, (0, -largest.size % GROUP)).reshape(-1, GROUP)
    spans = np.abs(apart).max(axis=1)
    scales = _nearest(SCALES, apart / np.where(spans > 0, spans, 1)[:, None]).reshape(-1)[: largest.size]
    return Packed((codes[:, 0::2] << 4 | codes[:, 1::2]).reshape(-1), scales, spans, np.asarray(offset))


def _nearest(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The place of the nearest value of a sorted table, the lower of two: in float64, where the middles are exact."""
    middles = (table[1:].astype("float64") + table[:-1]) / 2
    return np.searchsorted(middles, values.astype("float64")).astype("uint8")


def unpack(packed: Any, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """The kernel again, as a tensor of the backend: one gather a byte, one multiplication a weight, in float32 before `dtype`."""
    codes, scales, spans, offset = packed
    blocks = scales.shape[0]
    spread = ops.repeat(spans, GROUP)[:blocks] * ops.take(SCALES, ops.cast(scales, "int32"), axis=0) + offset
    pairs = ops.take(PAIRS, ops.cast(codes, "int32"), axis=0)
    flat = ops.reshape(ops.reshape(pairs, (blocks, BLOCK)) * ops.expand_dims(spread, -1), (-1,))
    return ops.cast(ops.reshape(flat[: math.prod(shape)], shape), keras.backend.standardize_dtype(dtype))
