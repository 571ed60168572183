"""The monitor: equal to NumPy's accuracy, exactly none forgotten where nothing moves, some where everything does."""

import csv

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_transfer.backbones import build_classifier
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.tuning import feature_extraction, measure
from keras_transfer.tuning.forgetting import ForgettingMonitor

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def task(seed, shift=0.0):
    """Four clouds on a circle; the target has another order of classes, and lies elsewhere."""
    random = np.random.default_rng(seed)
    y = np.arange(160) % 4
    angle = np.pi / 2 * (y if shift == 0.0 else (y * 3) % 4)
    x = np.stack([np.cos(angle), np.sin(angle)], 1) + shift + random.normal(0, 0.15, (160, 2))
    return x.astype("float32"), y


def net(seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.Input((2,), name="x")
    h = layers.Dense(16, activation="relu", name="low")(x)
    h = layers.Dense(16, activation="relu", name="high")(h)
    return keras.Model(x, layers.Dense(4, name="head")(h))


@pytest.fixture(scope="module")
def knowledge():
    """The weights of a net that knows the source task."""
    source = net()
    source.compile(keras.optimizers.Adam(1e-2), LOSS)
    source.fit(*task(0), epochs=15, verbose=0)
    return source.get_weights()


@pytest.fixture
def trained(knowledge):
    """That net, and the model for the target: the same layers under a new head."""
    source = net()
    source.set_weights(knowledge)
    target = keras.Model(source.input, layers.Dense(4, name="head")(source.get_layer("high").output))
    return source, target


def learn(model, data, *callbacks, epochs=4, rate=3e-2, **settings):
    model.compile(keras.optimizers.Adam(rate), LOSS, metrics=["accuracy"])
    return model.fit(*data, epochs=epochs, verbose=0, callbacks=list(callbacks), **settings).history


def baseline(monitor, model):
    """What it measures before the first step."""
    monitor.set_model(model)
    monitor.on_train_begin()
    return monitor.history[f"{monitor.name}_accuracy"]


def numpy_accuracy(source, x, y):
    h = x
    for name in ("low", "high", "head"):
        w, b = source.get_layer(name).get_weights()
        h = h @ w + b
        h = np.maximum(h, 0) if name != "head" else h
    return float((h.argmax(1) == y).mean())


def test_it_is_the_accuracy_and_fine_tuning_all_forgets(trained, tmp_path):
    source, target = trained
    old = task(1)
    right = [numpy_accuracy(source, *old)]

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            right.append(numpy_accuracy(source, *old))
            assert "source_accuracy" in logs  # the monitor came before

    monitor = ForgettingMonitor(old, source.get_layer("head"))
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = learn(target, task(2, shift=1.5), monitor, Look(), log, epochs=6, validation_data=task(3, shift=1.5))
    assert monitor.history["epoch"] == [-1, 0, 1, 2, 3, 4, 5]
    assert monitor.history["source_accuracy"] == pytest.approx(right)
    assert history["source_accuracy"] == monitor.history["source_accuracy"][1:]
    assert monitor.history["target_accuracy"] == [None, *history["val_accuracy"]]
    with open(tmp_path / "log.csv") as file:
        assert [float(row["source_accuracy"]) for row in csv.DictReader(file)] == pytest.approx(right[1:])
    assert right[0] > 0.9
    assert monitor.forgotten == pytest.approx(100 * (right[0] - right[-1]))
    assert monitor.forgotten > 20


def test_a_frozen_body_forgets_exactly_nothing_and_is_not_asked_again(trained, monkeypatch):
    source, target = trained
    asked = []
    in_order = measure.in_order
    monkeypatch.setattr(measure, "in_order", lambda *a, **k: asked.append(1) or in_order(*a, **k))
    monitor = ForgettingMonitor(task(1), source_model=source, name="old")
    history = learn(freeze(target, ["low", "high"]), task(2, shift=1.5), monitor, epochs=3)
    assert monitor.forgotten == 0.0
    assert len(set(history["old_accuracy"])) == 1
    assert len(asked) == 1
    learn(unfreeze(target, "high"), task(2, shift=1.5), monitor, epochs=3)
    assert len(asked) == 1 + 4


def test_a_frozen_beginning_runs_once(trained, monkeypatch):
    source, target = trained
    freeze(target, "low")
    computed = []

    def counted(runner, data, *args, **kwargs):
        computed.append(len(data))
        return activations(runner, data, *args, **kwargs)

    activations = measure.activations
    monkeypatch.setattr(measure, "activations", counted)
    old = task(1)
    monitor = ForgettingMonitor(old, source.get_layer("head"))
    learn(target, task(2, shift=1.5), monitor, epochs=3)
    assert computed == [160]
    assert monitor.history["source_accuracy"][-1] == pytest.approx(numpy_accuracy(source, *old))
    assert monitor.forgotten != 0
    unfreeze(target, "low")  # and it is found out when that is no longer true
    learn(target, task(2, shift=1.5), monitor, epochs=2)
    assert monitor.history["source_accuracy"][-1] == pytest.approx(numpy_accuracy(source, *old))
    assert monitor.history["epoch"] == [-1, 0, 1]


def test_every_kind_of_data_and_label(trained):
    import tensorflow as tf

    source, target = trained
    x, y = task(1)
    given = [(x, y), (x, y[:, None]), (x, np.eye(4)[y]), tf.data.Dataset.from_tensor_slices((x, y)).batch(50)]
    found = []
    for data in given:
        found.append(baseline(ForgettingMonitor(data, source.get_layer("head"), batch_size=64), target))
    assert all(one == found[0] for one in found)
    assert found[0][0] == pytest.approx(numpy_accuracy(source, x, y))


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_unit_means_two_classes(trained, activation):
    target = trained[1]
    x, y = task(1)
    head = keras.Sequential([keras.Input((16,)), layers.Dense(1, activation=activation)])
    found = baseline(ForgettingMonitor((x, y % 2), head), target)
    features = keras.Model(target.input, target.get_layer("high").output).predict(x, verbose=0)
    w, b = head.get_weights()
    assert found[0] == pytest.approx(float((((features @ w + b)[:, 0] > 0) == y % 2).mean()))


def test_in_our_own_fit_on_a_built_classifier():
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 3))
    backbone = keras.Model(pixels, layers.Conv2D(4, 3, name="conv")(pixels))
    model = build_classifier(backbone, 3, augmentation="light", preprocessing="tf")
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (12, 8, 8, 3)).astype("float32"), np.arange(12) % 3
    old_head = layers.Dense(2)
    old_head.build((None, 4))
    monitor = ForgettingMonitor((pictures[0], np.arange(12) % 2), old_head)
    history = feature_extraction(model, *pictures, epochs=5, validation_data=pictures, callbacks=[monitor], verbose=0)
    assert monitor.forgotten == 0.0
    assert len(history.history["source_accuracy"]) == len(history.epoch)


def test_the_plot_shows_both_tasks(trained):
    source, target = trained
    monitor = ForgettingMonitor(task(1), source.get_layer("head"))
    baseline(monitor, target)
    for epoch in range(3):
        monitor.on_epoch_end(epoch, {"accuracy": epoch / 3})
    figure = monitor.plot()
    assert isinstance(figure, Figure)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["source"].get_xdata(), [-1, 0, 1, 2])
    np.testing.assert_allclose(lines["source"].get_ydata(), monitor.history["source_accuracy"])
    np.testing.assert_allclose(lines["target"].get_xdata(), [0, 1, 2])


class Mine(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


class Splits:
    splits = {}


def built(units, width):
    layer = layers.Dense(units, name="old_head")
    layer.build((None, width))
    return layer


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (task(0), {}, "one of both. Received: none"),
        (task(0), {"head": built(4, 16), "source_model": net()}, "one of both. Received: both"),
        (task(0), {"head": layers.Dense(4)}, "not built"),
        (task(0), {"head": built(4, 16), "name": "target"}, "`name` must be a word"),
        (Splits(), {"head": built(4, 16)}, "one split"),
        (task(0)[0], {"head": built(4, 16)}, "need their labels"),
    ],
)
def test_bad_settings(data, settings, words):
    with pytest.raises(ValueError, match=words):
        ForgettingMonitor(data, **settings)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (net, {"head": built(4, 7)}, r"`head` must take .*\(None, 16\). Received: 'old_head'"),
        (net, {"source_model": net(1)}, "must share layers"),
        (Mine, {"head": built(4, 16)}, "pass `source_model`. Received: Mine"),
        (net, {"head": built(4, 16), "batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(model, settings, words):
    model = model()
    with pytest.raises(ValueError, match=words):
        learn(model, task(2), ForgettingMonitor(task(0), **settings))


def test_nothing_measured_and_no_labels():
    with pytest.raises(ValueError, match="Nothing was measured yet"):
        _ = ForgettingMonitor(task(0), built(4, 16)).forgotten
    import tensorflow as tf

    unlabelled = tf.data.Dataset.from_tensor_slices(task(0)[0]).batch(8)
    with pytest.raises(ValueError, match="must have labels"):
        learn(net(), task(2), ForgettingMonitor(unlabelled, built(4, 16)))


TWO = """
import contextlib
from keras_transfer.tuning.forgetting import ForgettingMonitor

random = np.random.default_rng(0)
x, y = random.normal(size=(64, 4)).astype("float32"), np.arange(64) % 3
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def train(scope):
    keras.utils.set_random_seed(0)
    with scope:
        inputs = keras.Input((4,))
        body = keras.layers.Dense(6, name="body")(inputs)
        old = keras.layers.Dense(3, name="old")
        old.build((None, 6))
        model = keras.Model(inputs, keras.layers.Dense(3, name="head")(body))
        model.compile(keras.optimizers.SGD(0.5), loss)
    monitor = ForgettingMonitor((x, y), old)
    model.fit(x, y, batch_size=16, epochs=4, shuffle=False, verbose=0, callbacks=[monitor])
    return monitor.history["source_accuracy"]

one = train(contextlib.nullcontext())
assert len(set(one)) > 1
print(one == train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()))
"""


@pytest.mark.distributed
def test_two_replicas_forget_as_one_does(two_devices):
    assert two_devices(TWO) == "True"
