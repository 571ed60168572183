"""Near-duplicates: changed copies are found, other pictures are not, and the pieces are what their formulas say."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from keras_transfer.data import near
from keras_transfer.data.align import agreement, align, correlation
from keras_transfer.data.near import groups, near_duplicates, thumbnail
from keras_transfer.data.resize import decode

BILINEAR = Image.Resampling.BILINEAR


def smooth(seed: int, count: int = 1, side: int = 32) -> np.ndarray:
    """Random pictures with a 1 / f spectrum, float32 (count, side, side)."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    waves = np.fft.fft2(rng.normal(size=(count, side, side))) / np.maximum(radius, 1 / side) ** 1.2
    x = np.real(np.fft.ifft2(waves))
    x -= x.mean(axis=(1, 2), keepdims=True)
    return (x / x.std(axis=(1, 2), keepdims=True)).astype(np.float32)


def test_the_thumbnail_is_grey_and_squashed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    wanted = Image.fromarray(picture).convert("L").resize((32, 32), BILINEAR, reducing_gap=2.0)
    np.testing.assert_array_equal(thumbnail(picture), np.asarray(wanted))
    np.testing.assert_array_equal(thumbnail(Image.fromarray(picture)), np.asarray(wanted))
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    np.testing.assert_array_equal(thumbnail(grey), np.asarray(wanted))
    opaque = np.concatenate([picture, np.full((64, 128, 1), 9, np.uint8)], axis=-1)
    np.testing.assert_array_equal(thumbnail(opaque), np.asarray(wanted))


def test_the_descriptor_is_the_weighted_cosine_transform() -> None:
    x = smooth(1)[0]
    at = (np.arange(32) + 0.5) / 32
    wanted = []
    for row in range(7):
        for column in range(7):
            if 0 < np.hypot(row, column) <= 6:
                wave = np.cos(np.pi * row * at)[:, None] * np.cos(np.pi * column * at)
                scale = (np.sqrt(0.5) if row == 0 else 1) * (np.sqrt(0.5) if column == 0 else 1)
                wanted.append((x * wave).sum() * scale * np.hypot(row, column))
    wanted = np.array(wanted) / np.linalg.norm(wanted)
    np.testing.assert_allclose(near._descriptors(x[None])[0], wanted, atol=1e-5)
    mirrored = near._descriptors(x[None, :, ::-1])[0]
    np.testing.assert_allclose(mirrored, wanted * near._ODD_SIGNS, atol=1e-5)


def test_align_finds_the_window_that_was_cut() -> None:
    side = 128
    big = smooth(2, 6, side)
    whole = np.stack([np.asarray(Image.fromarray(x).resize((32, 32), BILINEAR)) for x in big])
    boxes = [
        (0, 0, 128, 128),
        (8, 0, 128, 128),
        (0, 0, 128, 120),
        (6, 6, 122, 122),
        (4, 8, 124, 126),
        (10, 3, 125, 128),
    ]
    cut = np.stack([
        np.asarray(Image.fromarray(x).resize((32, 32), BILINEAR, box)) for x, box in zip(big, boxes, strict=True)
    ])  # fmt: skip
    window = align(whole, cut, steps=12)
    wanted = [((r - l) / side, (l + r) / side - 1, (b - t) / side, (t + b) / side - 1) for l, t, r, b in boxes]  # noqa: E741
    np.testing.assert_allclose(window, wanted, atol=0.012)
    start = np.tile(np.float32([1, 0, 1, 0]), (6, 1))
    assert (correlation(whole, cut, window) >= correlation(whole, cut, start) - 1e-6).all()
    assert correlation(whole, cut, window).min() > 0.98  # a cut picture has other pixels, so never quite 1
    assert np.stack(agreement(whole, cut, window)).min() > 0.965


def test_agreement_is_blind_to_tone_and_sharp_on_content() -> None:
    x, other = smooth(3, 4), smooth(4, 4)
    here = np.tile(np.float32([1, 0, 1, 0]), (4, 1))
    for changed in (x * 0.4 + 2, np.minimum(x, 0.8), x + 0.15 * x**2 + 0.02 * x**3):
        assert np.stack(agreement(x, changed.astype(np.float32), here)).min() > 0.96
        assert np.stack(agreement(changed.astype(np.float32), x, here)).min() > 0.96
    assert np.abs(agreement(x, other, here)[1]).max() < 0.5
    greys = correlation(x, other, here)
    wanted = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x, other, strict=True)]
    np.testing.assert_allclose(greys, wanted, atol=1e-4)


def test_pairs_become_groups() -> None:
    assert groups([(1, 5), (2, 3), (5, 9), (0, 9), (7, 8)]) == [[0, 1, 5, 9], [2, 3], [7, 8]]
    assert groups([]) == []


def test_too_few_or_too_flat_to_compare() -> None:
    flat = np.full((3, 32, 32), 100, np.uint8)
    flat[1, 0, 0] = 110
    assert near_duplicates(flat) == []
    assert near_duplicates(flat[:0]) == []
    assert near_duplicates(np.clip(128 + 40 * smooth(5), 0, 255).astype(np.uint8)) == []


def test_many_copies_of_one_picture_are_found_too() -> None:
    x = np.clip(128 + 40 * smooth(6), 0, 255)
    noisy = x + np.random.default_rng(0).normal(0, 2, (40, 32, 32))
    pairs = near_duplicates(np.clip(noisy, 0, 255).astype(np.uint8))
    assert groups(pairs) == [list(range(40))]


def test_a_film_does_not_take_a_look_at_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.clip(128 + 40 * smooth(6), 0, 255) + np.random.default_rng(0).normal(0, 2, (300, 32, 32))
    looked: list[int] = []
    real = near._same
    monkeypatch.setattr(near, "_same", lambda moved, still: looked.append(len(moved)) or real(moved, still))
    pairs = near_duplicates(np.clip(frames, 0, 255).astype(np.uint8))
    assert groups(pairs) == [list(range(300))]
    assert sum(looked) <= 2 * near.PAIRS  # of 44,850


def test_the_number_of_pairs_that_are_looked_at_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "CANDIDATES", 0)
    monkeypatch.setattr(near, "CELLS", 16 * 60)
    same = near._unit(np.ones((60, 34), np.float32))
    pairs = near._candidates(same, same)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert np.bincount(pairs[:, 0], minlength=60).tolist() == [min(8, 59 - i) for i in range(60)]


def crop(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((round(share * width), round(share * height / 2), width, round((1 - share) * height)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized": lambda image: image.resize((image.width // 3, image.height // 2)),
    "cropped": lambda image: crop(image, 0.05),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "gamma": lambda image: image.point([round(255 * (v / 255) ** 0.7) for v in range(256)] * 3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": ImageOps.mirror,
    "blurred": lambda image: image.resize((48, 48)).resize(image.size),
    "all at once": lambda image: (
        ImageEnhance.Brightness(crop(ImageOps.mirror(image), 0.03)).enhance(0.8).resize((99, 80))
    ),
}


@pytest.fixture(scope="module")
def ants(data_root: Path) -> list[Image.Image]:
    return [Image.fromarray(decode(path)) for path in sorted((data_root / "hymenoptera").rglob("*.jpg"))]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_of_photos_are_found_and_nothing_else(ants: list[Image.Image], change: str) -> None:
    chosen = range(0, len(ants), 4)
    thumbnails = [thumbnail(image) for image in ants] + [thumbnail(CHANGES[change](ants[i])) for i in chosen]
    pairs = set(near_duplicates(np.stack(thumbnails)))
    wanted = {(i, len(ants) + place) for place, i in enumerate(chosen)}
    assert pairs <= wanted
    assert len(pairs) >= 0.98 * len(wanted)


@pytest.mark.slow
def test_twenty_thousand_pictures_are_searched_in_a_minute_of_processor_time() -> None:
    x = np.clip(128 + 40 * smooth(7, 20_000), 0, 255).astype(np.uint8)
    x[19_000:] = np.clip(x[:1000] * 0.9 + 12.0, 0, 255)
    start = time.process_time()
    assert near_duplicates(x) == [(i, 19_000 + i) for i in range(1000)]
    assert time.process_time() - start < 60
