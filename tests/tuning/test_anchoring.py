"""L2-SP: the paper's formula, a start that outlives a reload in a fresh process, and a model that the house knows."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import apply_plan, freeze, freeze_plan, trainable_report, unfreeze
from keras_transfer.core.prefix import cut
from keras_transfer.core.saving import load, save
from keras_transfer.export import inference_model
from keras_transfer.tuning.anchoring import AnchoredModel, l2_sp

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(policy=None, **settings):
    keras.utils.set_random_seed(4)
    x = pixels = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1", dtype=policy)(x)
    x = layers.BatchNormalization(name="bn", dtype=policy)(x)
    x = layers.Conv2D(4, 3, name="conv2", dtype=policy)(layers.ReLU(name="relu", dtype=policy)(x))
    backbone = keras.Model(pixels, x)
    return build_classifier(backbone, 3, augmentation="none", preprocessing="tf", dropout=0.0, **settings)


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (24, 8, 8, 3)).astype("float32"), np.arange(24) % 3


def weights(model):
    return {v.path: np.array(v) for v in model.weights if "start_" not in v.path}


def train(model, data, rate=0.1, epochs=1, optimizer=None):
    model.compile(optimizer or keras.optimizers.SGD(rate), LOSS)
    return model.fit(*data, batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def omega(model, start, strength, head_strength):
    """The penalty as the paper writes it, over the weights that train."""
    old = [(v.path, np.array(v)) for v in model.trainable_variables]
    backbone = sum(((w - start[path]) ** 2).sum() for path, w in old if "logits" not in path)
    return strength / 2 * backbone + head_strength / 2 * sum((w**2).sum() for path, w in old if "logits" in path)


def test_the_loss_gains_the_formula(data):
    model = unfreeze(net(), batch_norm="train")
    start = weights(model)
    anchored = l2_sp(model, strength=0.3, head_strength=0.2)
    assert len([v for v in anchored.weights if "start_" in v.path]) == 6  # two kernels, two biases, gamma and beta
    train(anchored, data, epochs=2)
    plain = keras.Model(anchored.input, anchored.output)
    plain_loss = float(LOSS(data[1], anchored.predict(data[0], verbose=0)))
    right = plain_loss + omega(anchored, start, 0.3, 0.2)
    assert omega(anchored, start, 0.3, 0.2) > 1e-3
    assert anchored.evaluate(*data, verbose=0) == pytest.approx(right, rel=1e-5)
    assert len(plain.weights) == len(start)


def test_the_gradient_pulls_back(data):
    """With nothing else in the loss, SGD shrinks the way from the start by (1 - rate * strength) a step."""
    model = unfreeze(net(), batch_norm="train")
    start = weights(model)
    anchored = l2_sp(model, strength=0.5, head_strength=0.25)
    for variable in anchored.trainable_variables:
        variable.assign(variable + 1.0)
    anchored.compile(keras.optimizers.SGD(0.1), loss=lambda y, z: keras.ops.sum(z, -1) * 0.0)
    anchored.fit(*data, batch_size=24, epochs=3, verbose=0)
    for variable in anchored.trainable_variables:
        right = start[variable.path] + (1 - 0.1 * 0.5) ** 3
        if "logits" in variable.path:
            right = (start[variable.path] + 1) * (1 - 0.1 * 0.25) ** 3
        np.testing.assert_allclose(variable, right, rtol=1e-5, atol=1e-6)


def test_strength_0_is_plain_training_and_a_large_one_stays_near(data):
    ends, away = {}, {}
    for strength in (None, 0.0, 5.0):
        model = unfreeze(net(), batch_norm="train")
        start = weights(model)
        trained = model if strength is None else l2_sp(model, strength=strength, head_strength=0.0)
        train(trained, data, epochs=3)
        ends[strength] = weights(trained)
        away[strength] = [np.abs(w - start[path]).max() for path, w in ends[strength].items() if "conv2/kernel" in path]
    for path, w in ends[0.0].items():
        np.testing.assert_allclose(w, ends[None][path], atol=1e-6)
    assert away[5.0][0] < 0.5 * away[None][0]


AGAIN = """
import sys
import numpy as np
import keras
import keras_transfer

model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
model.fit(data["x"], data["y"], batch_size=8, epochs=2, shuffle=False, verbose=0)
starts = {v.path: np.array(v) for v in model.weights if "start_" in v.path}
np.savez(sys.argv[3], loss=model.evaluate(data["x"], data["y"], verbose=0), **{str(i): w for i, w in enumerate(model.get_weights())})
print(type(model).__name__)
"""


@pytest.mark.slow
def test_a_reload_goes_on_from_the_same_start(data, tmp_path):
    model = l2_sp(unfreeze(net(), batch_norm="train"), strength=0.3)
    begun = [np.array(v) for v in model.weights if "start_" in v.path]
    train(model, data, epochs=2, optimizer=keras.optimizers.Adam(1e-2))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for one in (model, again):
        one.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for mine, right in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, right, atol=1e-6)
    for mine, right in zip([v for v in again.weights if "start_" in v.path], begun, strict=True):
        np.testing.assert_array_equal(mine, right)


@pytest.mark.slow
def test_a_reload_in_a_fresh_process_goes_on_from_the_same_start(data, tmp_path):
    model = l2_sp(unfreeze(net(), batch_norm="train"), strength=0.3)
    train(model, data, epochs=2, optimizer=keras.optimizers.Adam(1e-2))
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "data.npz", x=data[0], y=data[1])
    files = [str(tmp_path / name) for name in ("m.keras", "data.npz", "out.npz")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, *files], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "AnchoredModel"
    model.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0)
    with np.load(tmp_path / "out.npz") as out:
        assert float(out["loss"]) == pytest.approx(model.evaluate(*data, verbose=0), rel=1e-6)
        for index, mine in enumerate(model.get_weights()):
            np.testing.assert_allclose(mine, out[str(index)], atol=1e-6)


def test_our_own_files_keep_start_and_plan(data, tmp_path):
    model = l2_sp(net(), strength=0.3)  # the backbone is frozen: it came pretrained
    start = weights(model)
    unfreeze(model, ["head", "conv2"])
    train(model, data)
    again = load(save(model, tmp_path / "m.keras"))
    assert isinstance(again, AnchoredModel)
    assert (again.anchored, again.strength, again.head_strength) == (model.anchored, 0.3, 0.01)
    assert freeze_plan(again) == freeze_plan(model)
    assert [v.shape for v in again.trainable_variables] == [v.shape for v in model.trainable_variables]
    assert again.evaluate(*data, verbose=0) == pytest.approx(model.evaluate(*data, verbose=0), rel=1e-6)
    moved = again.get_layer("backbone").get_layer("conv2").kernel
    begun = moved.regularizer.start
    np.testing.assert_array_equal(begun, next(w for path, w in start.items() if "conv2/kernel" in path))
    assert np.abs(np.array(moved) - np.array(begun)).max() > 0


def test_the_house_treats_it_as_any_model(data):
    model = net()
    plan = freeze_plan(model)
    anchored = l2_sp(model, strength=0.3, head_strength=0.1)
    assert freeze_plan(anchored) == plan
    freeze(anchored)
    assert not anchored.trainable_variables
    apply_plan(anchored, plan)
    unfreeze(anchored, ["head", "conv2"])
    parts = cut(anchored)
    assert {id(v) for v in parts.suffix.trainable_weights} == {id(v) for v in anchored.trainable_weights}
    x = parts.prefix(data[0], training=False)
    np.testing.assert_allclose(parts.suffix(x, training=False), anchored(data[0], training=False), atol=1e-5)
    shipped = inference_model(anchored)
    assert not any("start_" in v.path for v in shipped.weights)


def test_cached_and_uncached_fits_are_equal(data):
    ends = []
    for cache in (True, False):
        model = l2_sp(net(), strength=0.3, head_strength=0.1)
        unfreeze(model, ["head", "conv2"])
        start = weights(model)
        settings = {"optimizer": keras.optimizers.SGD(0.1), "loss": LOSS, "epochs": 3, "batch_size": 8, "verbose": 0}
        history = fit(model, *data, cache=cache, validation_data=data, **settings).history
        right = float(LOSS(data[1], model.predict(data[0], verbose=0))) + omega(model, start, 0.3, 0.1)
        assert history["val_loss"][-1] == pytest.approx(right, rel=1e-5)
        ends.append(weights(model))
    for path, mine in ends[0].items():
        np.testing.assert_allclose(mine, ends[1][path], atol=1e-5)


def test_release_gives_back_what_was_there(data):
    model = unfreeze(net(), batch_norm="train")
    kernel = model.get_layer("head").get_layer("logits").kernel
    kernel.regularizer = keras.regularizers.L2(0.7)
    anchored = l2_sp(model, strength=0.0, head_strength=0.1)
    train(anchored, data)
    expected = float(LOSS(data[1], anchored.predict(data[0], verbose=0)))
    expected += (0.7 + 0.05) * float((np.array(kernel) ** 2).sum())
    expected += 0.05 * float((np.array(model.get_layer("head").get_layer("logits").bias) ** 2).sum())
    assert anchored.evaluate(*data, verbose=0) == pytest.approx(expected, rel=1e-5)
    plain = anchored.release()
    assert not isinstance(plain, AnchoredModel)
    assert isinstance(kernel.regularizer, keras.regularizers.L2)
    assert [v.path for v in plain.weights] == [v.path for v in model.weights]
    assert isinstance(l2_sp(plain), AnchoredModel)


def test_mixed_precision_and_other_graphs(data):
    model = unfreeze(net(policy="mixed_bfloat16"), batch_norm="train")
    start = weights(model)
    anchored = l2_sp(model, strength=0.3)
    train(anchored, data)
    assert float(keras.ops.sum(anchored.losses)) == pytest.approx(omega(anchored, start, 0.3, 0.01), rel=1e-4)
    stack = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="low"), layers.Dense(2, name="high")])
    assert len(l2_sp(stack, "low").weights) == 6
    a, b = (keras.Input((4,), name=name) for name in "ab")
    two = keras.Model({"a": a, "b": b}, layers.Dense(2, name="d")(layers.Add()([a, b])))
    y = l2_sp(two, "d")({"a": np.ones((2, 4)), "b": np.ones((2, 4))})
    assert y.shape == (2, 2)


class Mine(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (net, {"strength": -0.1}, r"`strength`.*at least 0. Received: -0.1"),
        (net, {"strength": float("nan")}, r"`strength`.*Received: nan"),
        (net, {"head_strength": "a"}, r"`head_strength`.*Received: 'a'"),
        (net, {"where": "bakbone"}, r"matches no layer.*'backbone'"),
        (net, {"where": "relu"}, r"weights to train. Received: where='relu'"),
        (Mine, {}, "needs a Functional or a built Sequential"),
        (lambda: l2_sp(net()), {}, "anchored already"),
        (lambda: l2_sp(net()).get_layer("backbone"), {"where": "conv1"}, "anchored already"),
    ],
)
def test_bad_input(make, settings, words):
    with pytest.raises(ValueError, match=words):
        l2_sp(make(), **settings)


TWO = """
import contextlib
from keras_transfer.tuning.anchoring import l2_sp

random = np.random.default_rng(0)
x, y = random.normal(size=(32, 4)).astype("float32"), random.normal(size=(32, 3)).astype("float32")

def train(scope):
    keras.utils.set_random_seed(0)
    with scope:
        inputs = keras.Input((4,))
        h = keras.layers.Dense(6, name="low")(inputs)
        model = l2_sp(keras.Model(inputs, keras.layers.Dense(3, name="top")(h)), "low", strength=0.5, head_strength=0.3)
        model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return [np.array(v) for v in model.get_weights()] + [np.array(history.history["loss"])]

one = train(contextlib.nullcontext())
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope())
print(max(np.abs(a - b).max() for a, b in zip(one, two)))
"""


@pytest.mark.distributed
def test_two_replicas_train_as_one_does(two_devices):
    assert float(two_devices(TWO)) < 1e-5


JAX = """
import numpy as np
import keras
from keras_transfer.core.batch_norm import reestimate
from keras_transfer.core.freezing import freeze
from keras_transfer.core.fitting import fit
from keras_transfer.tuning.anchoring import l2_sp
from keras_transfer.tuning.averaging import WeightAveraging
from keras_transfer.tuning.forgetting import ForgettingMonitor

layers = keras.layers
random = np.random.default_rng(0)
x, y = random.normal(size=(24, 4)).astype("float32"), np.arange(24) % 3
seen = []

class Look(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append([np.array(v) for v in self.model.weights])

def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    h = layers.Dense(5, name="low")(inputs)
    h = layers.BatchNormalization(name="bn")(layers.Dense(5, name="middle")(h))
    return l2_sp(keras.Model(inputs, layers.Dense(3, name="head")(h)), ["low", "middle"], strength=0.5)

loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
source_head = layers.Dense(3)
source_head.build((None, 5))
for ema in (None, 0.5):
    model = net()
    start = np.array(model.get_layer("middle").kernel)
    monitor = ForgettingMonitor((x, y), source_head)
    seen.clear()
    model.compile(keras.optimizers.SGD(0.1), loss)
    callbacks = [Look(), monitor, WeightAveraging(1, ema=ema, data=(x, y), batch_size=24)]
    history = model.fit(x, y, batch_size=24, epochs=3, verbose=0, callbacks=callbacks).history
    position = [v.path for v in model.weights].index("middle/kernel")
    right = (seen[1][position] + seen[2][position]) / 2  # one step an epoch: the mean of two, either way
    np.testing.assert_allclose(model.get_weights()[position], right, atol=1e-6)
    assert np.abs(right - start).max() > 1e-4
    squares = {True: 0.0, False: 0.0}
    for v in model.trainable_variables:
        begun = v.regularizer.start
        away = np.array(v) - (0 if begun is None else np.array(begun))
        squares[begun is not None] += float((away**2).sum())
    penalty, rest = 0.5 / 2 * squares[True], 0.01 / 2 * squares[False]
    plain = float(loss(y, model.predict(x, verbose=0)))
    assert abs(model.evaluate(x, y, verbose=0) - plain - penalty - rest) < 1e-5
    h = x @ np.array(model.get_layer("low").kernel) + np.array(model.get_layer("low").bias)
    h = h @ np.array(model.get_layer("middle").kernel) + np.array(model.get_layer("middle").bias)
    np.testing.assert_allclose(model.get_layer("bn").moving_mean, h.mean(0), atol=1e-5)
    np.testing.assert_allclose(model.get_layer("bn").moving_variance, h.var(0), atol=1e-5)
    assert len(history["source_accuracy"]) == 3

model = freeze(net(), "low")
settings = dict(loss=loss, epochs=3, batch_size=8, verbose=0)
seen.clear()
fit(model, x, y, callbacks=[WeightAveraging(1, data=(x, y)), Look()], optimizer=keras.optimizers.SGD(0.1), **settings)
position = [v.path for v in model.weights].index("middle/kernel")
np.testing.assert_allclose(model.get_weights()[position], (seen[1][position] + seen[2][position]) / 2, atol=1e-6)
try:
    average = WeightAveraging(1, ema=0.5, data=(x, y))
    fit(freeze(net(), "low"), x, y, callbacks=[average], optimizer=keras.optimizers.SGD(0.1), **settings)
except ValueError as error:
    assert "average by epoch" in str(error)
else:
    raise AssertionError("an average by step of a part that JAX holds")
"""


@pytest.mark.slow
def test_anchoring_averaging_and_the_monitor_on_jax(on_jax):
    assert on_jax(JAX) == "done on JAX"


def test_the_report_counts_the_network_and_not_where_it_started(data):
    plain = net()
    right = trainable_report(plain)
    anchored = l2_sp(plain)
    assert len(anchored.start_values) == 6
    told = trainable_report(anchored)
    assert (told.trainable, told.total) == (right.trainable, right.total)
    assert sum(row["params"] for row in told.rows) == told.total
    assert trainable_report(anchored.release()).total == right.total
