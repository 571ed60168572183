"""The catalogue says what Keras builds."""

import re

import keras
import pytest

from keras_transfer.backbones.catalog import entry, names
from keras_transfer.backbones.preprocessing import MODES


def build(known):
    return getattr(keras.applications, known.constructor)(
        weights=None, include_top=False, input_shape=(known.minimum_size, known.minimum_size, 3), **known.arguments
    )


def test_the_names_carry_the_width():
    assert names() == (
        *("mobilenet_v2", "mobilenet_v2_0.35", "mobilenet_v2_0.5", "mobilenet_v2_0.75", "mobilenet_v2_1.3"),
        *("mobilenet_v2_1.4", "mobilenet", "mobilenet_0.25", "mobilenet_0.5", "mobilenet_0.75"),
        *("efficientnet_b0", "resnet50"),
    )
    for name in names():
        width = name.rpartition("_")[2]
        alpha = float(width) if re.fullmatch(r"\d\.\d+", width) else 1.0
        assert entry(name).arguments.get("alpha", 1.0) == alpha


def test_every_entry_is_sound():
    for known in map(entry, names()):
        assert known.preprocessing in MODES
        assert re.compile(known.blocks).groups == 1
        assert known.image_size in known.imagenet_sizes
        assert 0.5 < known.top1 < 1.0
        assert known.licence in ("Apache-2.0", "MIT")


@pytest.mark.parametrize(
    ("word", "near"),
    [("mobilenet_v2_0.50", "mobilenet_v2_0.5"), ("mobilenetv2", "mobilenet_v2"), ("resnet", "resnet50")],
)
def test_an_unknown_name_gets_the_nearest(word, near):
    with pytest.raises(
        ValueError, match=rf"Unknown backbone\. Did you mean .*'{re.escape(near)}'.* Received: '{word}'"
    ):
        entry(word)


@pytest.mark.parametrize("name", ["mobilenet_0.25", "mobilenet_v2_0.35"])
def test_the_parameters_are_those_that_keras_builds(name):
    assert build(entry(name)).count_params() == entry(name).parameters


@pytest.mark.slow
def test_all_parameters_are_those_that_keras_builds():
    assert {name: build(entry(name)).count_params() for name in names()} == {n: entry(n).parameters for n in names()}
