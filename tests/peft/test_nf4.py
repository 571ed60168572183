"""NF4: the levels, every index against an arg-min, the bits, the round trip, and what is refused."""

from statistics import NormalDist

import keras
import numpy as np
import pytest

from keras_transfer.peft.nf4 import BLOCK, GROUP, LEVELS, PAIRS, SCALES, bits_per_weight, pack, sizes, unpack

KERNEL = np.random.default_rng(0).normal(0, 0.05, (96, 176)).astype("float32")  # 264 blocks: two groups, one not full


def indices(packed):
    return np.stack([packed.codes >> 4, packed.codes & 15], axis=-1).reshape(-1, BLOCK)


def test_the_levels_are_the_papers_quantiles():
    """Seven below zero, eight above, of evenly spaced probabilities, scaled to one (Dettmers et al. 2023, appendix E)."""
    outermost = 0.5 * ((1 - 1 / 32) + (1 - 1 / 30))
    quantile = np.vectorize(NormalDist().inv_cdf)
    above = quantile(np.linspace(outermost, 0.5, 9)[:-1])
    below = -quantile(np.linspace(outermost, 0.5, 8)[:-1])
    right = np.sort([*above, 0.0, *below])
    np.testing.assert_allclose(LEVELS, right / right.max(), atol=1e-6)


def test_every_index_is_the_nearest_level():
    blocks = KERNEL.reshape(-1, BLOCK)
    normal = blocks / np.abs(blocks).max(axis=1, keepdims=True)
    right = np.abs(normal[..., None].astype("float64") - LEVELS).argmin(-1)
    np.testing.assert_array_equal(indices(pack(KERNEL)), right)


def test_a_weight_in_the_middle_goes_where_arg_min_says():
    middles = (LEVELS[1:] + LEVELS[:-1]) / 2
    block = np.concatenate([[1.0], middles, np.nextafter(middles, 1), np.nextafter(middles, -1), np.zeros(18)])
    block = block.astype("float32")
    right = np.abs(block[:, None].astype("float64") - LEVELS).argmin(-1)
    np.testing.assert_array_equal(indices(pack(block))[0], right)


def test_the_scales_by_the_papers_formula():
    largest = np.abs(KERNEL.reshape(-1, BLOCK)).max(axis=1)
    packed = pack(KERNEL)
    assert packed.offset == pytest.approx(largest.mean(), rel=1e-6)
    for group in range(2):
        apart = (largest - packed.offset)[group * GROUP : (group + 1) * GROUP]
        span = np.abs(apart).max()
        right = np.abs((apart / span)[:, None] - SCALES).argmin(-1)
        assert packed.spans[group] == pytest.approx(span)
        assert np.abs(packed.scales[group * GROUP : (group + 1) * GROUP].astype(int) - right).max() <= 1
    assert SCALES.size == 256
    assert SCALES[[0, -1]] == pytest.approx([-0.99296875, 1.0])  # bitsandbytes.functional.create_dynamic_map()


def test_bits_a_weight():
    assert bits_per_weight((768, 3072)) <= 4.13
    assert bits_per_weight((768, 3072)) == pytest.approx(4 + 8 / 64 + 32 / 64 / 256, abs=1e-4)
    packed = pack(KERNEL)
    assert {name: part.shape for name, part in packed._asdict().items()} == sizes(KERNEL.shape)
    assert 8 * sum(part.nbytes for part in packed) / KERNEL.size == bits_per_weight(KERNEL.shape)


@pytest.mark.parametrize("shape", [(96, 176), (7,), (5, 3, 3), (64,), (1, 16385)])
def test_back_to_the_kernel(shape):
    kernel = np.resize(KERNEL, shape)
    packed = pack(kernel)
    again = keras.ops.convert_to_numpy(unpack(packed, shape))
    scale = SCALES[packed.scales] * np.repeat(packed.spans, GROUP)[: packed.scales.size] + packed.offset
    right = (LEVELS[indices(packed)] * scale[:, None]).reshape(-1)[: kernel.size].reshape(shape)
    np.testing.assert_allclose(again, right, rtol=1e-6, atol=1e-8)
    assert again.shape == shape
    assert np.sqrt(np.mean((again - kernel) ** 2) / np.mean(kernel**2)) < 0.12  # 0.092 for a large normal kernel


def test_packing_what_was_unpacked_changes_nothing():
    first = keras.ops.convert_to_numpy(unpack(pack(KERNEL), KERNEL.shape))
    packed = pack(first)
    np.testing.assert_array_equal(indices(packed), indices(pack(KERNEL)))


def test_an_outlier_among_the_scales_spoils_no_other_block():
    kernel = KERNEL.copy()
    kernel.reshape(-1)[0] = 20.0
    again = keras.ops.convert_to_numpy(unpack(pack(kernel), kernel.shape))
    apart, clean = (one.reshape(-1, BLOCK)[1:] for one in (again, kernel))
    assert np.sqrt(np.mean((apart - clean) ** 2) / np.mean(clean**2)) < 0.11


def test_zeros_stay_zero_and_a_constant_stays():
    for kernel in (np.zeros((8, 20)), np.full((8, 16), -3.0)):
        np.testing.assert_allclose(unpack(pack(kernel), kernel.shape), kernel)


def test_half_precision_comes_out_rounded_once():
    half = keras.ops.convert_to_numpy(unpack(pack(KERNEL), KERNEL.shape, "float16"))
    whole = keras.ops.convert_to_numpy(unpack(pack(KERNEL), KERNEL.shape))
    np.testing.assert_array_equal(half, whole.astype("float16"))


def test_the_pair_table_reads_the_first_weight_from_the_high_half():
    assert PAIRS[0x0F].tolist() == [-1.0, 1.0]
    assert PAIRS[0xF7].tolist() == [1.0, 0.0]


def test_what_is_refused():
    with pytest.raises(ValueError, match="2 weights of 16896 that are NaN or infinite"):
        pack(np.where(np.arange(KERNEL.size).reshape(KERNEL.shape) < 2, np.nan, KERNEL))
    with pytest.raises(ValueError, match="must hold weights"):
        pack(np.zeros((0, 4)))
