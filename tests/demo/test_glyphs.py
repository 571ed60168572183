"""The source task: the fonts it uses, and pictures that depend on the seed alone."""

import string

import numpy as np
import pytest

from keras_transfer.demo.glyphs import (
    CHARACTERS,
    CLASSES,
    FONTS,
    HELD_OUT_FONTS,
    TRAINING_FONTS,
    draw_glyphs,
    labels,
    masters,
)


def test_fonts_are_the_22_that_hold_every_letter_and_digit():
    assert len(FONTS) == len(set(FONTS)) == 22
    starts = {start: sum(name.startswith(start) for name in FONTS) for start in ("DejaVu", "STIXGeneral", "cm")}
    assert starts == {"DejaVu": 12, "STIXGeneral": 4, "cm": 6}
    assert set(TRAINING_FONTS) | set(HELD_OUT_FONTS) == set(FONTS)
    assert not set(TRAINING_FONTS) & set(HELD_OUT_FONTS)
    ink = masters().reshape(22, 62, -1).sum(-1)
    assert ink.min() > 50  # every font draws every character
    for row in masters():  # and draws them as different shapes, not as one empty box for all
        assert len(np.unique(row.reshape(62, -1), axis=0)) >= 60


def test_characters_that_look_alike_share_a_class():
    assert set(CHARACTERS) == set(string.ascii_letters + string.digits)
    of = dict(zip(CHARACTERS, labels(), strict=True))
    assert of["o"] == of["O"] == of["0"]
    assert of["1"] == of["l"] == of["I"]
    assert len({of[digit] for digit in string.digits}) == 10
    assert of["a"] != of["A"]
    assert sorted(set(of.values())) == list(range(len(CLASSES)))


def test_pictures_depend_on_the_seed_alone():
    x, y = draw_glyphs(64, seed=3)
    again_x, again_y = draw_glyphs(64, seed=3)
    other_x, _ = draw_glyphs(64, seed=4)
    assert x.shape == (64, 32, 32, 1)
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x, again_x)
    np.testing.assert_array_equal(y, again_y)
    assert (x != other_x).any()


def test_glyphs_are_white_on_black_and_fill_the_grey_levels():
    x, _ = draw_glyphs(512, seed=0, fonts=HELD_OUT_FONTS)
    border = np.concatenate([x[:, 0].ravel(), x[:, -1].ravel(), x[:, :, 0].ravel(), x[:, :, -1].ravel()])
    middle = x[:, 8:24, 8:24]
    assert border.mean() < 0.5 * middle.mean()
    assert x.max() == 255
    assert np.median(x) < 64


def test_unknown_font_is_named():
    with pytest.raises(ValueError, match=r"Received: \['Comic'\]"):
        draw_glyphs(1, seed=0, fonts=("Comic",))
