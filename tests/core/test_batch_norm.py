"""Re-estimated statistics: equal to NumPy's, nothing else moves, and a net with stale ones comes back to life."""

import keras
import numpy as np
import pytest

from keras_transfer.core.batch_norm import POLICIES, reestimate, training_batch_norms
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.source import ArraySource

layers = keras.layers


def dense_net(momentum=0.99):
    keras.utils.set_random_seed(1)
    x = keras.Input((5,))
    h = layers.BatchNormalization(name="bn1", momentum=momentum)(layers.Dense(6, name="a")(x))
    h = layers.BatchNormalization(name="bn2", momentum=momentum)(layers.Dense(4, name="b")(layers.ReLU()(h)))
    return keras.Model(x, layers.Dense(3, name="c")(h))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(1.0, 2.0, (70, 5)).astype("float32")


def statistics(model):
    return [np.array(v) for norm in training_batch_norms(model) for v in (norm.moving_mean, norm.moving_variance)]


def state(model, *left_out):
    kept = [v for v in model.variables if not any(v is other for other in left_out)]
    return [np.array(v) for v in kept]


def numpy_statistics(model, x, batch_size):
    """The mean over batches, by their size, of each batch's statistics, layer after layer."""
    a, b = (model.get_layer(name).get_weights() for name in "ab")
    found = []
    for start in range(0, len(x), batch_size):
        h = x[start : start + batch_size] @ a[0] + a[1]
        mean1, var1 = h.mean(0), h.var(0)
        h = np.maximum((h - mean1) / np.sqrt(var1 + 1e-3), 0) @ b[0] + b[1]
        found.append((mean1, var1, h.mean(0), h.var(0)))
    sizes = [len(x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
    return [np.average([one[i] for one in found], axis=0, weights=sizes) for i in range(4)]


@pytest.mark.parametrize("batch_size", [35, 32])  # 32: the last batch is short, and counts for less
def test_equals_numpy(x, batch_size):
    model = dense_net()
    assert reestimate(model, x, batch_size=batch_size) is model
    for mine, right in zip(statistics(model), numpy_statistics(model, x, batch_size), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-6)


def test_every_kind_of_data_gives_the_same(x):
    import tensorflow as tf

    class Sequence(keras.utils.PyDataset):
        num_batches = 5

        def __getitem__(self, index):
            return x[index * 16 : index * 16 + 16], np.zeros(len(x[index * 16 : index * 16 + 16]))

    y = np.zeros(len(x))
    tensors = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    given = [
        (x,),
        ((x, y),),
        (tensors,),
        (Sequence(),),
        (ArraySource(x, y),),
        (tensors.map(lambda x, y: ({"numbers": x}, y)),),
    ]
    results = [statistics(reestimate(dense_net(), *data, batch_size=16)) for data in given[:-1]]
    named = keras.Input((5,), name="numbers")
    outer = keras.Model({"numbers": named}, dense_net()(named))
    results.append(statistics(reestimate(outer, *given[-1])))
    for one in results[1:]:
        for mine, first in zip(one, results[0], strict=True):
            np.testing.assert_array_equal(mine, first)


def test_nothing_else_moves_and_a_second_call_changes_nothing(small_model, pictures):
    model = small_model(augmentation=True)
    freeze(model, "bn2")
    norms = training_batch_norms(model)
    assert [norm.name for norm in norms] == ["bn1", "bn3"]
    moved = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
    before = state(model, *moved)  # the frozen BatchNorm and the random layers' seeds are among them
    assert len(before) == len(model.variables) - 4 > len(model.weights) - 4
    reestimate(model, *pictures)
    first = statistics(model)
    assert not np.allclose(first[0], 0)
    reestimate(model, *pictures)
    for mine, again in zip(first, statistics(model), strict=True):
        np.testing.assert_allclose(mine, again, rtol=1e-6, atol=1e-6)
    for mine, was in zip(state(model, *moved), before, strict=True):
        np.testing.assert_array_equal(mine, was)
    assert all(norm.momentum == 0.99 and "call" not in vars(norm) for norm in norms)


def test_a_frozen_beginning_runs_in_inference_mode_and_the_rest_as_in_training(pictures):
    def net(rate, behind):
        keras.utils.set_random_seed(2)
        x = keras.Input((16, 16, 3))
        h = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 255)(x))
        h = layers.Conv2D(4, 3, name="frozen")(layers.Dropout(rate, seed=1)(h))
        h = layers.BatchNormalization()(
            layers.Dense(4, name="dense")(layers.Dropout(behind, seed=2)(layers.Flatten()(h)))
        )
        return freeze(keras.Model(x, h), ["conv", "frozen"])

    plain, early, late = (statistics(reestimate(net(*rates), pictures[0])) for rates in ((0, 0), (0.5, 0), (0, 0.5)))
    np.testing.assert_allclose(early[1], plain[1], rtol=1e-5)
    assert np.all(late[1] > plain[1] * 1.01)  # Dropout widens what the moving average would have seen


def test_a_layer_that_is_called_twice_counts_both_calls(x):
    inputs, norm = keras.Input((5,)), layers.BatchNormalization()
    model = keras.Model(inputs, norm(inputs) + norm(3.0 * inputs))
    reestimate(model, x, batch_size=70)
    np.testing.assert_allclose(norm.moving_mean, 2 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, 5 * x.var(0), rtol=1e-5)


def test_a_subclassed_model_in_mixed_precision(x):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.norm = layers.BatchNormalization(dtype="mixed_bfloat16")

        def call(self, x):
            return self.norm(x)

    model = Mine()
    model(x)
    reestimate(model, x)
    np.testing.assert_allclose(model.norm.moving_mean, x.mean(0), rtol=1e-2)


def test_stale_statistics_and_what_becomes_of_them():
    random = np.random.default_rng(0)
    x = random.normal(3.0, 4.0, (512, 5)).astype("float32")
    y = (x @ random.normal(size=(5, 3))).argmax(1)
    model = dense_net(momentum=0.999)
    model.compile(keras.optimizers.Adam(3e-2), keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    history = model.fit(x, y, batch_size=64, epochs=12, verbose=0)
    learned = history.history["accuracy"][-1]
    stale = model.evaluate(x, y, verbose=0)[1]
    fresh = reestimate(model, x, y, batch_size=64).evaluate(x, y, verbose=0)[1]
    assert learned > 0.9
    assert stale < learned - 0.15
    assert fresh > learned - 0.03
    # the function that was traced before kept its momentum
    before = statistics(model)
    model.fit(x, y, batch_size=512, verbose=0)
    assert max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(before, statistics(model), strict=True)) < 0.01


def test_where_and_models_without_any(x):
    model = dense_net()
    reestimate(model, x, where="bn2")
    assert np.all(np.array(model.get_layer("bn1").moving_mean) == 0)
    assert np.all(np.array(model.get_layer("bn2").moving_mean) != 0)
    before = state(freeze(model))
    assert reestimate(model, x) is model
    for mine, was in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(mine, was)
    unfreeze(model, "a")
    with pytest.raises(ValueError, match="batch_norm='train'"):
        reestimate(model, x, where="bn1")
    unfreeze(model, "bn1", batch_norm="train")
    assert reestimate(model, x, where=["a", "bn1"])


def test_data_that_fails_half_way_leaves_the_model_as_it_was(x):
    def broken():
        yield x, x
        raise OSError("the disk is gone")

    model = dense_net()
    before = state(model)
    with pytest.raises(OSError, match="disk"):
        reestimate(model, broken())
    for mine, was in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(mine, was)
    assert model.get_layer("bn1").momentum == 0.99


class Endless(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return np.zeros((2, 5)), np.zeros(2)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (iter(()), ValueError, "at least one batch"),
        (Endless(), ValueError, "must end"),
        ({"numbers": np.zeros((2, 5))}, TypeError, "tf.data.Dataset"),
        (3, TypeError, "tf.data.Dataset"),
    ],
)
def test_bad_data_is_told_in_a_sentence(data, error, words):
    with pytest.raises(error, match=words):
        reestimate(dense_net(), data)


def test_bad_settings(x):
    import tensorflow as tf

    with pytest.raises(ValueError, match="must end"):
        reestimate(dense_net(), tf.data.Dataset.from_tensor_slices((x, x)).batch(8).repeat())
    with pytest.raises(ValueError, match=r"batch_size.*Received: 0"):
        reestimate(dense_net(), x, batch_size=0)
    inputs = keras.Input((5,))
    renorm = keras.Model(inputs, layers.BatchNormalization(renorm=True, name="brn")(inputs))
    with pytest.raises(ValueError, match=r"renorm=False.*'brn'"):
        reestimate(renorm, x)


def test_the_words():
    assert POLICIES == ("freeze", "train", "reestimate")
