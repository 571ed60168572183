"""The strategy of rates by depth: two stages, the rates of the formula, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.registry import get
from keras_transfer.tuning import layerwise


def classifier(**settings):
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((24, 24, 3))
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(8, 3, name=f"conv{block}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"bn{block}")(x))
    return build_classifier(keras.Model(pixels, x), 3, augmentation="none", preprocessing="tf", **settings)


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    y = np.arange(36) % 3
    x = random.integers(0, 150, (36, 24, 24, 3)).astype("float32")
    x[np.arange(36), :, :, y] += 100
    return x, y


def test_every_block_has_the_rate_of_the_formula(pictures):
    model = classifier()
    assert get("strategy", "layerwise") is layerwise
    statistics = [np.array(model.get_layer("backbone").get_layer(f"bn{i}").moving_mean) for i in (1, 2, 3)]
    history = layerwise(model, *pictures, epochs=2, head_epochs=1, learning_rate=1e-2, layer_decay=0.5, verbose=0)
    head, every = history.stages
    assert [block["state"] for block in head["blocks"]] == ["frozen"] * 3 + ["trained"]
    assert head["learning_rate"] == 1e-2
    assert (every["schedule"], every["learning_rate"]) == ("one_cycle", pytest.approx(3e-3))
    rates = [block["learning_rate"] for block in every["blocks"]]
    assert rates == pytest.approx([3e-3 * 0.5**below for below in (3, 2, 1, 0)])
    assert isinstance(model.optimizer, LayerwiseOptimizer)
    assert history.epoch == [0, 1, 2]
    for mean, i in zip(statistics, (1, 2, 3), strict=True):
        assert np.array_equal(mean, model.get_layer("backbone").get_layer(f"bn{i}").moving_mean)


def test_defaults_and_choices(pictures):
    model = classifier()
    history = layerwise(
        model, *pictures, epochs=1, head_epochs=1, learning_rate=None, schedule="constant",
        optimizer=keras.optimizers.SGD, batch_norm="train", verbose=0,
    )  # fmt: skip
    assert [stage["learning_rate"] for stage in history.stages] == [1e-3, pytest.approx(3e-4)]
    rates = [block["learning_rate"] for block in history.stages[1]["blocks"]]
    assert rates == pytest.approx([3e-4 * 0.9**below for below in (3, 2, 1, 0)])
    assert isinstance(model.optimizer.inner, keras.optimizers.SGD)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"layer_decay": 1.5}, ValueError, "`decay` must be above 0 and at most 1"),
        ({"learning_rate": keras.optimizers.schedules.CosineDecay(1e-3, 9)}, TypeError, "must be the head's rate"),
        ({"head_epoch": 3}, TypeError, "Unknown setting"),
    ],
)
def test_wrong_settings_are_named(pictures, settings, error, message):
    with pytest.raises(error, match=message):
        layerwise(classifier(), *pictures, verbose=0, **settings)


def test_without_pretrained_weights_there_is_nothing_to_keep(pictures):
    with pytest.raises(ValueError, match=r"use kt\.tuning\.full"):
        layerwise(classifier(weights=None), *pictures, verbose=0)
