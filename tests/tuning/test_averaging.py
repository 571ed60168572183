"""Averaged weights: equal to NumPy's mean of the epochs, with statistics to match, and what is refused."""

import math

import keras
import numpy as np
import pytest

from keras_transfer.core.batch_norm import reestimate, training_batch_norms
from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze
from keras_transfer.core.source import ArraySource, Batches
from keras_transfer.tuning.averaging import WeightAveraging

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(norm=False, policy=None):
    keras.utils.set_random_seed(3)
    x = keras.Input((4,))
    h = layers.Dense(6, activation="relu", name="low", dtype=policy)(x)
    h = layers.BatchNormalization(name="bn", dtype=policy)(h) if norm else h
    return keras.Model(x, layers.Dense(3, name="top", dtype="float32")(h))


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(48, 4)).astype("float32")
    return x, (x @ random.normal(size=(4, 3))).argmax(1)


class Weights(keras.callbacks.Callback):
    """The weights as other callbacks see them: after each epoch, after each step."""

    def __init__(self):
        super().__init__()
        self.epochs, self.steps, self.rates = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([np.array(v) for v in self.model.weights])

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([np.array(v) for v in self.model.weights])
        self.rates.append(float(self.model.optimizer.learning_rate))


def train(model, data, average, epochs=6, optimizer=None, **settings):
    seen = Weights()
    model.compile(optimizer or keras.optimizers.Adam(1e-2), LOSS)
    model.fit(*data, batch_size=16, epochs=epochs, verbose=0, callbacks=[average, seen], **settings)
    return seen


def equal(model, weights, tolerance=1e-6):
    for mine, right in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, right, atol=tolerance)


@pytest.mark.parametrize(
    ("start", "every", "taken"),
    [pytest.param(2, 1, [2, 3, 4, 5], marks=pytest.mark.slow), (1, 2, [2, 4]), (5, 1, [5])],
)
def test_swa_is_the_mean_of_the_epochs(data, start, every, taken):
    model, average = net(), WeightAveraging(start, every=every)
    seen = train(model, data, average)
    assert average.count == len(taken)
    equal(model, [np.mean([seen.epochs[e][i] for e in taken], axis=0) for i in range(4)])
    assert np.abs(model.get_weights()[0] - seen.epochs[-1][0]).max() > 1e-4 or len(taken) == 1


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_ema_follows_every_step(data, steps_per_execution):
    model, decay = net(), 0.8
    average = WeightAveraging(1, ema=decay)
    seen = Weights()
    model.compile(keras.optimizers.SGD(0.5), LOSS, steps_per_execution=steps_per_execution, jit_compile=False)
    model.fit(*data, batch_size=8, epochs=4, verbose=0, callbacks=[average, seen])
    after = seen.steps[6 // steps_per_execution :]  # the first epoch is before the start
    right = [np.zeros_like(one) for one in after[0]]
    for n, weights in enumerate(after, 1):
        share = max(1 / n, 1 - decay**steps_per_execution)
        right = [old + (new - old) * share for old, new in zip(right, weights, strict=True)]
    equal(model, right)
    assert average.count == 18


def test_validation_sees_the_raw_weights_and_the_frozen_stay(data):
    model = freeze(net(), "low")
    frozen = [np.array(v) for v in model.get_layer("low").weights]
    plain = freeze(net(), "low")
    plain.compile(keras.optimizers.Adam(1e-2), LOSS)
    expected = plain.fit(*data, batch_size=16, epochs=6, validation_data=data, verbose=0).history["val_loss"]
    model.compile(keras.optimizers.Adam(1e-2), LOSS)
    history = model.fit(
        *data, batch_size=16, epochs=6, validation_data=data, verbose=0, callbacks=[WeightAveraging(2)]
    ).history
    np.testing.assert_allclose(history["val_loss"], expected, rtol=1e-6)
    for mine, was in zip(model.get_layer("low").weights, frozen, strict=True):
        np.testing.assert_array_equal(mine, was)
    assert abs(model.evaluate(*data, verbose=0) - expected[-1]) > 1e-4


@pytest.mark.parametrize("anneal", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_the_rate_comes_to_its_end_by_a_cosine_and_stays(data, anneal):
    seen = train(net(), data, WeightAveraging(2, learning_rate=1e-3, anneal_epochs=anneal), epochs=8)
    shares = [min(k / (anneal + 1), 1) for k in range(1, 7)]
    right = [1e-2] * 2 + [1e-3 + (1e-2 - 1e-3) * (1 + math.cos(math.pi * s)) / 2 for s in shares]
    np.testing.assert_allclose(seen.rates, right, rtol=1e-5)
    assert seen.rates[2 + anneal] == pytest.approx(1e-3)


def test_batch_norm_that_trained_is_estimated_anew_and_frozen_is_not(data):
    model = net(norm=True)
    train(model, data, WeightAveraging(2, data=data, batch_size=16))
    mine = [np.array(model.get_layer("bn").moving_mean), np.array(model.get_layer("bn").moving_variance)]
    h = np.maximum(data[0] @ model.get_layer("low").get_weights()[0] + model.get_layer("low").get_weights()[1], 0)
    batches = np.split(h, 3)
    np.testing.assert_allclose(mine[0], np.mean([one.mean(0) for one in batches], 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mine[1], np.mean([one.var(0) for one in batches], 0), rtol=1e-4, atol=1e-6)

    frozen = freeze(net(norm=True), "bn")
    before = frozen.get_layer("bn").get_weights()
    train(frozen, data, WeightAveraging(2))
    for now, was in zip(frozen.get_layer("bn").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, was)


def test_a_layer_that_trains_later_counts_with_its_value_from_before(data):
    class Unfreeze(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.model.get_layer("low").trainable = True
                self.model.make_train_function(force=True)

    model = net()
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)
    freeze(model, "low")
    start, seen = model.get_weights(), Weights()
    model.compile(optimizer, LOSS)
    # the callback that unfreezes comes behind, as it may
    model.fit(*data, batch_size=16, epochs=5, verbose=0, callbacks=[WeightAveraging(1), Unfreeze(), seen])
    assert np.abs(seen.epochs[-1][0] - start[0]).max() > 1e-3
    equal(model, [np.mean([one[i] for one in seen.epochs[1:]], axis=0) for i in range(4)])


def test_in_our_own_fit_where_a_part_of_the_model_runs_the_steps(data):
    model, seen = freeze(net(norm=True), "low"), Weights()
    averages = [WeightAveraging(1, data=data, batch_size=16), seen]
    fit(
        model,
        *data,
        optimizer=keras.optimizers.Adam(1e-2),
        loss=LOSS,
        epochs=4,
        batch_size=16,
        verbose=0,
        callbacks=averages,
    )
    expected = [np.mean([one[i] for one in seen.epochs[1:]], axis=0) for i in range(8)]
    trained = [i for i, v in enumerate(model.weights) if v.trainable]
    for i in trained:
        np.testing.assert_allclose(model.get_weights()[i], expected[i], atol=1e-6)
    before = model.get_weights()
    reestimate(model, *data, batch_size=16)
    equal(model, before)


def test_mixed_precision_with_a_scaled_loss(data):
    model = net(policy="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2))
    seen = train(model, data, WeightAveraging(2, learning_rate=1e-3), optimizer=optimizer)
    equal(model, [np.mean([one[i] for one in seen.epochs[2:]], axis=0) for i in range(4)])
    assert seen.rates[-1] == pytest.approx(1e-3)


def test_a_training_that_ends_early_keeps_its_weights_and_says_so(data):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model, seen = net(), Weights()
    model.compile("adam", LOSS)
    with pytest.warns(UserWarning, match="ended before there was anything to average"):
        model.fit(*data, epochs=6, verbose=0, callbacks=[WeightAveraging(3), Stop(), seen])
    equal(model, seen.epochs[-1], 0)


def test_behind_early_stopping_the_average_stays(data):
    model, seen = net(), Weights()
    stop = keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=3, restore_best_weights=True
    )  # stops after epoch 3
    model.compile(keras.optimizers.Adam(1e-2), LOSS)
    model.fit(*data, batch_size=16, epochs=9, verbose=0, callbacks=[seen, stop, WeightAveraging(1)])
    assert len(seen.epochs) == 4
    equal(model, [np.mean([one[i] for one in seen.epochs[1:]], axis=0) for i in range(4)])


def test_a_second_fit_and_an_initial_epoch_begin_anew(data):
    model, average = net(), WeightAveraging(2)
    train(model, data, average, epochs=3)
    seen = train(model, data, average, epochs=6, initial_epoch=4)
    equal(model, [np.mean([one[i] for one in seen.epochs], axis=0) for i in range(4)])
    assert average.count == 2


@pytest.mark.slow
def test_averaging_helps_where_the_rate_is_too_high():
    """On a noisy task at a constant high rate the average is better than what goes into it."""
    random = np.random.default_rng(0)
    truth = random.normal(size=(20, 1))
    x = random.normal(size=(128, 20)).astype("float32")
    y = (x @ truth + random.normal(size=(128, 1))).astype("float32")
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    distances = []
    for callbacks in ([], [WeightAveraging(8)]):
        model = keras.Sequential([keras.Input((20,)), layers.Dense(1, use_bias=False)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        shuffled = Batches(ArraySource(x, y), 8, shuffle=True)
        model.fit(shuffled, epochs=20, verbose=0, callbacks=callbacks)
        distances.append(float(np.mean((model.get_weights()[0] - best) ** 2)))
    assert distances[1] < 0.4 * distances[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start_epoch": -1}, r"`start_epoch`.*Received: -1"),
        ({"start_epoch": 1.5}, r"`start_epoch`.*Received: 1.5"),
        ({"start_epoch": 1, "every": 0}, r"`every`.*at least 1"),
        ({"start_epoch": 1, "anneal_epochs": 2}, "needs the `learning_rate`"),
        ({"start_epoch": 1, "learning_rate": 0}, r"`learning_rate`.*above 0.*Received: 0"),
        ({"start_epoch": 1, "learning_rate": float("nan")}, r"`learning_rate`.*above 0"),
        ({"start_epoch": 1, "ema": 1.0}, r"`ema`.*above 0, below 1. Received: 1.0"),
        ({"start_epoch": 1, "ema": 0}, r"`ema`.*above 0, below 1. Received: 0"),
        ({"start_epoch": 1, "ema": 0.9, "every": 2}, "`every` counts epochs"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        WeightAveraging(**settings)


@pytest.mark.parametrize(
    ("average", "norm", "words"),
    [
        (WeightAveraging(6), False, r"start_epoch=6 and every=1 in 6 epochs"),
        (WeightAveraging(4, every=3), False, r"start_epoch=4 and every=3 in 6 epochs"),
        (WeightAveraging(1), True, r"`data`.*'bn' trains"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_the_first_step(data, average, norm, words):
    model = net(norm)
    before = model.get_weights()
    with pytest.raises(ValueError, match=words):
        train(model, data, average)
    equal(model, before, 0)


def test_batch_norm_that_comes_to_train_is_refused_in_its_epoch(data):
    class Unfreeze(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.get_layer("bn").trainable = epoch == 2

    model = freeze(net(norm=True), "bn")
    model.compile("adam", LOSS)
    assert not training_batch_norms(model)
    with pytest.raises(ValueError, match="'bn' trains"):
        model.fit(*data, epochs=4, verbose=0, callbacks=[Unfreeze(), WeightAveraging(1)])


def test_a_rate_that_a_schedule_sets_is_left_to_it(data):
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 20)
    with pytest.raises(ValueError, match="leave it out where a schedule sets the rate"):
        train(net(), data, WeightAveraging(1, learning_rate=1e-3), optimizer=keras.optimizers.Adam(schedule))
    average = WeightAveraging(1)
    train(net(), data, average, optimizer=keras.optimizers.Adam(schedule))
    assert average.count == 5


TWO = """
from keras_transfer.tuning.averaging import WeightAveraging

def train(scope):
    keras.utils.set_random_seed(0)
    with scope:
        x = keras.Input((4,))
        h = keras.layers.BatchNormalization()(keras.layers.Dense(6, name="low")(x))
        model = keras.Model(x, keras.layers.Dense(3, name="top")(h))
        model.compile(keras.optimizers.SGD(0.1), "mse")
    average = WeightAveraging(1, ema=EMA, data=(x0, y0), batch_size=16)
    model.fit(x0, y0, batch_size=16, epochs=4, shuffle=False, verbose=0, callbacks=[average])
    return [np.array(v) for v in model.get_weights()]

import contextlib
random = np.random.default_rng(0)
x0, y0 = random.normal(size=(32, 4)).astype("float32"), random.normal(size=(32, 3)).astype("float32")
x0[8:16], x0[24:] = x0[:8], x0[16:24]  # both halves of a batch alike: then their BatchNorm statistics are those of the batch
one = train(contextlib.nullcontext())
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope())
print(max(np.abs(a - b).max() for a, b in zip(one, two)))
"""


@pytest.mark.distributed
@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_replicas_average_as_one_does(two_devices, ema):
    assert float(two_devices(f"EMA = {ema}\n{TWO}")) < 1e-5
