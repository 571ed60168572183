"""`strategy`: which devices a word means, what is refused, and that two devices train as one."""

import keras
import pytest
import tensorflow as tf

from keras_transfer.core.devices import replicas, scope, strategy


def test_on_one_device_auto_changes_nothing():
    assert strategy("auto") is tf.distribute.get_strategy()
    with strategy().scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert replicas(model) == 1
    assert type(model.layers[0].kernel.value).__name__ == "ResourceVariable"


@pytest.mark.parametrize("name", ["mirrored", ["CPU:0"], ["/device:CPU:0"], ("/cpu:0",)])
def test_mirrored_and_a_list_are_a_mirrored_strategy(name):
    made = strategy(name)
    assert isinstance(made, tf.distribute.MirroredStrategy)
    assert made.num_replicas_in_sync == 1
    assert made is strategy("mirrored")  # a second one over the same devices would fail
    with made.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with scope(model):
        assert tf.distribute.get_strategy() is made


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mirored", ValueError, "Did you mean 'mirrored'. Received: 'mirored'"),
        ("multi_worker", ValueError, "Several machines are not offered"),
        ("CPU:0", ValueError, "a list of devices"),
        (["GPU:7"], ValueError, "no such device here. .*CPU:0.* Received: 'GPU:7'"),
        (["CPU:0", "/cpu:0"], ValueError, "named once"),
        ([], ValueError, "at least one of them"),
        (2, TypeError, "a list of device names. Received: 2"),
        ([0, 1], TypeError, "a list of device names"),
        (None, TypeError, "a list of device names. Received: None"),
    ],
)
def test_other_names_are_refused(name, kind, message):
    with pytest.raises(kind, match=message):
        strategy(name)


def test_another_backend_is_told_what_to_use(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"keras\.distribution\. Received: backend 'jax'"):
        strategy("auto")


def test_a_model_of_a_backend_without_strategies_has_one_replica():
    class Plain:
        pass

    with scope(Plain()) as nothing:
        assert nothing is None
    assert replicas(Plain()) == 1


TWO = """
from keras_transfer.core.devices import replicas, strategy

random = np.random.default_rng(0)
x, y = random.normal(size=(44, 3)).astype("float32"), random.normal(size=(44, 2)).astype("float32")
weights = []
with strategy("auto").scope():  # another model before, of other shapes
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7), keras.layers.Dense(2)])
    other.compile("sgd", "mse")
other.fit(x, y, verbose=0)
for name in (["cpu:1", "cpu:0"], ["CPU:1"], None):
    with (strategy(name) if name else tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
        model.compile(keras.optimizers.Adam(0.05), "mse")
    assert replicas(model) == len(name or "1")
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    weights.append(np.concatenate([np.ravel(one.numpy()) for one in model.weights]))
print(max(np.abs(one - weights[2]).max() for one in weights) < 1e-6)
"""


@pytest.mark.distributed
def test_two_devices_train_as_one(two_devices):
    assert two_devices(TWO) == "True"
