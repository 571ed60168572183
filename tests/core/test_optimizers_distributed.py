"""Under two replicas each variable moves at its rate, as on one device."""

import pytest

SCRIPT = """
import sys
from keras_transfer.core import rates
from keras_transfer.core.optimizers import LayerwiseOptimizer

layers = keras.layers
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = np.tanh(x)[:, :2]
MAKE = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 20)),
    "adamw": lambda: keras.optimizers.AdamW(0.02, weight_decay=0.1, use_ema=True),
}[sys.argv[1]]

def trained(strategy, inner=None):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        dense = [layers.Dense(6, "tanh", name="low"), layers.LayerNormalization(name="norm"), layers.Dense(2, name="head")]
        model = keras.Sequential([keras.Input((4,)), *dense])
        start = model.get_weights()
        inner = inner or MAKE()
        if sys.argv[1] == "sgd":
            optimizer = LayerwiseOptimizer(inner, {"low": 0.1, "norm": 0.0})
        else:
            optimizer = rates.layerwise(inner, model, {"low": 0.1, "norm": 0})
            optimizer = rates.no_decay(optimizer, model) if sys.argv[1] == "adamw" else optimizer
        model.compile(optimizer, "mse")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert [row["multiplier"] for row in rates.rate_report(optimizer, model).rows] == [0.1, 0.1, 0, 0, 1, 1]
    return start, model.get_weights(), [np.array(one) for one in optimizer.variables]

one = trained(tf.distribute.get_strategy())
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
two = trained(mirrored)
made_outside = trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), MAKE())
for other in (two, made_outside):
    for a, b in zip(one[1] + one[2], other[1] + other[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
moved = [np.abs(new - old).max() for new, old in zip(one[1], one[0])]
assert moved[2] == moved[3] == 0 and min(moved[0], moved[4]) > 1e-3, moved
print("equal")
"""


@pytest.mark.distributed
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_two_replicas_equal_one_device(two_devices, kind):
    assert two_devices(SCRIPT, kind) == "equal"
