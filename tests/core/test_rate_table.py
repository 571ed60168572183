"""Rates survive a file: Keras renames paths and forgets frozen state, and the moved weights must not change places."""

import json

import keras
import numpy as np
import pytest

from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.rate_table import RateTable, Row, row
from keras_transfer.core.rates import layerwise, no_decay

layers = keras.layers
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = np.tanh(X)
FIT = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}


def sequential():
    """Keras loads its `net/low/kernel` as `low/kernel`."""
    dense = [layers.Dense(4, name=name) for name in ("low", "mid", "head")]
    return keras.Sequential([keras.Input((4,)), *dense], name="net")


def colliding():
    """Two towers whose weights share their paths, and a head."""
    x = keras.Input((4,))
    towers = []
    for name in ("left", "right"):
        inside = keras.Input((4,))
        towers.append(keras.Model(inside, layers.Dense(4, name="dense")(inside), name=name)(x))
    return keras.Model(x, layers.Dense(4, name="head")(layers.Add(name="add")(towers)))


@keras.saving.register_keras_serializable("tests")
class Pair(layers.Layer):
    """Its sublayers are made in `build` and carry running numbers: another path, and thawed, after a reload."""

    def build(self, shape):
        self.first, self.second = layers.Dense(4), layers.Dense(4)
        self.first.build(shape)
        self.second.build(shape)
        self.built = True

    def call(self, x):
        return self.second(self.first(x))


def composite():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(4, name="head")(Pair(name="two")(Pair(name="one")(x))))


def adamw():
    rate = keras.optimizers.schedules.CosineDecay(0.02, 50)
    return keras.optimizers.AdamW(
        rate, weight_decay=0.1, use_ema=True, gradient_accumulation_steps=2, global_clipnorm=0.5
    )


def momentum():
    return keras.optimizers.SGD(0.02, momentum=0.9)


CASES = {
    "by name": (sequential, lambda model: LayerwiseOptimizer(momentum(), {"low": 0.1, "net/mid": 0.5})),
    "composite": (composite, lambda model: no_decay(layerwise(adamw(), model, {"one": 0.1, "two": 0.5}), model)),
    "colliding": (colliding, lambda model: layerwise(momentum(), model, {"left": 0.1, "right": 0.5})),
    "one colliding frozen": (colliding, lambda model: layerwise(momentum(), model, {"left": 0.1, "right": 0.5})),
}


@pytest.mark.fast(2)
@pytest.mark.parametrize("case", CASES)
def test_saved_loaded_and_continued_is_as_if_never_saved(case, tmp_path):
    make, wrap = CASES[case]
    keras.utils.set_random_seed(0)
    model = make()
    if case == "one colliding frozen":
        model.get_layer("left").trainable = False
    model.compile(wrap(model), "mse")
    model.fit(X, Y, **FIT)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is LayerwiseOptimizer
    assert type(again.optimizer.inner) is type(model.optimizer.inner)
    assert again.optimizer.get_config()["table"] == model.optimizer.get_config()["table"]
    assert len(again.optimizer.variables) == len(model.optimizer.variables)
    for ours, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    ours, theirs = ([(row.multiplier, row.decays) for row in one.optimizer.rows] for one in (again, model))
    assert ours == theirs
    assert len({multiplier for multiplier, _ in theirs}) == (3 if "frozen" not in case else 2)
    for one in (model, again):
        one.fit(X, Y, **FIT)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_frozen_state_that_a_file_forgets_costs_no_rate(tmp_path):
    """A composite layer comes back thawed: the loaded optimizer is built over more than the saved one."""
    model = composite()
    model.get_layer("one").trainable = False
    model.compile(layerwise("adam", model, {"one": 0.1}), "mse")
    model.optimizer.build(model.trainable_weights)
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # Keras' own words
        again = keras.models.load_model(tmp_path / "m.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights) + 4
    assert [row.multiplier for row in again.optimizer.rows] == [0.1] * 4 + [1.0] * 6


def test_the_file_holds_the_state_once(tmp_path):
    import zipfile

    import h5py

    def held(optimizer):
        model = sequential()
        model.compile(optimizer, "mse")
        model.fit(X, Y, **FIT)
        model.save(tmp_path / "m.keras")
        with zipfile.ZipFile(tmp_path / "m.keras") as archive, archive.open("model.weights.h5") as file:
            sizes = []
            h5py.File(file)["optimizer"].visititems(lambda name, one: sizes.append(getattr(one, "size", 0)))
            return sum(sizes)

    assert held(LayerwiseOptimizer("adam", {"low": 0.1})) == held(keras.optimizers.Adam())


def test_a_twin_from_its_config_is_new_and_has_the_same_rates():
    model = colliding()
    optimizer = layerwise(keras.optimizers.SGD(0.1, momentum=0.9), model, {"left": 0.0, "right": 0.5})
    optimizer.learning_rate = 0.05
    json.dumps(optimizer.get_config())
    for built in (False, True):
        if built:
            optimizer.build(model.trainable_variables)
        twin = LayerwiseOptimizer.from_config(optimizer.get_config())
        assert not twin.built
        assert int(twin.iterations) == 0
        assert twin.get_config() == optimizer.get_config()
        assert float(twin.learning_rate) == pytest.approx(0.05)
        # In this process the variables are known: two of them in another order, though all paths and shapes are equal.
        some = [model.get_layer(name).get_layer("dense").kernel for name in ("right", "left")]
        twin.build(some)
        assert [row.multiplier for row in twin.rows] == [0.5, 0.0]
        assert len(twin.table.known) == 1


def test_a_rate_that_has_come_down_to_zero_is_loaded():
    optimizer = LayerwiseOptimizer(keras.optimizers.SGD(0.1), {"low": 0.1})
    optimizer.learning_rate = 0.0
    assert float(LayerwiseOptimizer.from_config(optimizer.get_config()).learning_rate) == 0.0


def test_variables_of_another_model_are_refused():
    model, twin = sequential(), sequential()
    for other in (twin, composite()):
        optimizer = layerwise("adam", model, {"low": 0.1})
        with pytest.raises(ValueError, match=r"another model.*compile=False.*Received: \d+ variables, '"):
            optimizer.build(other.trainable_variables)
    loaded = LayerwiseOptimizer.from_config(json.loads(json.dumps(layerwise("adam", model, {"low": 0.1}).get_config())))
    with pytest.raises(ValueError, match="another model"):
        loaded.build(composite().trainable_variables)
    loaded.build(twin.trainable_variables)  # what a file is loaded into is another object of the same shape


def test_where_a_file_leaves_a_doubt_it_is_refused():
    """Of three equal weights two train: which two only their positions could say, and the file had others."""
    rows = [Row("dense/kernel", (2,), rate) for rate in (0.1, 0.5, 1.0)]
    with keras.name_scope("dense"):
        three = [keras.Variable(np.zeros(2, "float32"), name="kernel") for _ in range(3)]
    table = RateTable(rows)
    assert table.resolve(three) == rows
    assert table.resolve(three[1:], built=rows[1:]) == rows[1:]
    with pytest.raises(ValueError, match="another model"):
        table.resolve(three[1:])
    same = RateTable([Row("dense/kernel", (2,), 0.1)] * 3)
    assert [one.multiplier for one in same.resolve(three[1:])] == [0.1, 0.1]
    assert row(three[0]) == Row("dense/kernel", (2,), 1.0, True)
