"""Being registered is being tested: every registered layer keeps the contracts, without a line of its own."""

import inspect
import re

import keras
import numpy as np
import pytest

from keras_transfer.core.hook import REGISTERING, register_all
from keras_transfer.core.registry import registered

register_all()
LAYERS = registered("layer")
PICTURES = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")


# What cannot be made by its defaults alone.
EXAMPLES = {
    "augmentation": {"layers": [keras.layers.RandomFlip(), keras.layers.GaussianNoise(0.5)]},
    "nf4_dense": {"units": 4},
    "nf4_einsum_dense": {"equation": "bhwc,cd->bhwd", "output_shape": (12, 12, 4)},
}


def make(name):
    return LAYERS[name](name=f"a_{name}", **EXAMPLES.get(name, {}))


def model_of(name):
    pixels = keras.Input((12, 12, 3))
    return keras.Model(pixels, make(name)(pixels))


def test_there_is_something_to_test():
    assert REGISTERING
    assert {"preprocessing", "random_view", "augmentation"} <= set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_config_makes_an_equal_layer(name):
    layer = make(name)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_model_answers_alike_in_plain_keras(name, tmp_path):
    model = model_of(name)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict(PICTURES, verbose=0), again.predict(PICTURES, verbose=0))


@pytest.mark.parametrize("name", LAYERS)
def test_shape_is_told_before_it_is_computed(name):
    model = model_of(name)
    assert model.predict(PICTURES, verbose=0).shape[1:] == model.output_shape[1:]


@pytest.mark.parametrize("name", LAYERS)
def test_inference_is_deterministic_and_finite(name):
    model = model_of(name)
    first, second = (model.predict(PICTURES, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


@pytest.mark.parametrize("name", LAYERS)
def test_its_serialised_name_is_ours(name):
    assert keras.saving.get_registered_name(LAYERS[name]) == f"keras_transfer>{LAYERS[name].__name__}"


SCHEDULES = {name: thing for name, thing in registered("schedule").items() if isinstance(thing, type)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_gives_a_rate_at_every_step_and_comes_back_from_its_config(name):
    schedule = SCHEDULES[name](1e-3, steps=50)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(60)]
    assert rates == [float(keras.ops.convert_to_numpy(again(step))) for step in range(60)]
    assert 0 <= min(rates) <= max(rates) <= 1e-3 * (1 + 1e-6)
    assert max(rates) > 0.9e-3


@pytest.mark.parametrize("kind", ["layer", "strategy", "schedule", "optimizer", "model", "injection"])
def test_everything_registered_is_documented_and_named_like_its_kind(kind):
    import keras_transfer.fewshot
    import keras_transfer.tuning  # noqa: F401  registers the strategies

    assert registered(kind)
    for name, thing in registered(kind).items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert inspect.getdoc(thing), name
    for name, strategy in registered("strategy").items():
        assert re.search(r"\d{4}\.\d{4,5}", inspect.getdoc(strategy)), f"{name} names no paper"
        assert list(inspect.signature(strategy).parameters)[:3] == ["model", "x", "y"]
