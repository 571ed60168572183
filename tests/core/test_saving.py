"""A partly frozen model whose layers make their sublayers late: loaded, it trains on as if it had never been saved."""

import warnings

import keras
import numpy as np
import pytest

from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.saving import load, save


@pytest.fixture
def trained():
    """Attention of which only the query trains; Keras forgets that in a file, and builds an optimizer for all of it."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 8))
    h = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(x, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(h)))
    unfreeze(freeze(model), ["head", "attention/query"])
    random = np.random.default_rng(0)
    data = random.normal(size=(12, 4, 8)).astype("float32"), random.normal(size=(12, 2)).astype("float32")
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(*data, epochs=2, shuffle=False, verbose=0)
    return model, data


def values(variables):
    return [np.array(one) for one in variables]


def test_the_optimizer_goes_on(trained, tmp_path):
    model, data = trained
    path = save(model, tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing was lost, so nothing is said
        again = load(path)
    assert len(again.trainable_variables) == len(model.trainable_variables) == 4
    for one, other in zip(values(model.optimizer.variables), values(again.optimizer.variables), strict=True):
        np.testing.assert_array_equal(one, other)
    for one in (model, again):
        one.fit(*data, epochs=1, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_keras_alone_loses_it(trained, tmp_path):
    """What the test above would see if `load` did nothing."""
    path = save(trained[0], tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="optimizer"):
        again = keras.models.load_model(path)
    assert len(again.trainable_variables) > 4


def test_what_is_not_compiled_is_loaded_as_it_is(tmp_path):
    x = keras.Input((4, 8))
    model = freeze(keras.Model(x, keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)))
    unfreeze(model, "attention/query")
    again = load(save(model, tmp_path / "m.keras"))
    assert not again.compiled
    assert len(again.trainable_variables) == 2
