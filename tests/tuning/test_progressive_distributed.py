"""Unfreezing inside a fit on two devices equals one device, and what Keras cannot do there is refused; a process each."""

import pytest

pytestmark = pytest.mark.distributed

SETUP = """
import sys
from keras_transfer.core.devices import strategy
from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.rates import layerwise
from keras_transfer.tuning.progressive import ProgressiveUnfreezing

Adam = keras.optimizers.Adam
random = np.random.default_rng(1)
x, y = random.normal(size=(22, 3)).astype("float32"), random.normal(size=(22, 2)).astype("float32")

def build(policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    layers = [keras.layers.Dense(n, activation="tanh", name=name) for n, name in ((5, "low"), (4, "mid"))]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2, dtype="float32", name="head")])
    for layer in layers:
        layer.trainable = False
    return model

class Watch(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.moved, self.last = [], [one.numpy() for one in self.model.weights]

    def on_epoch_end(self, epoch, logs=None):
        now = [one.numpy() for one in self.model.weights]
        self.moved.append([not np.array_equal(a, b) for a, b in zip(self.last, now)][::2])
        self.last = now

def train(place, of, policy="float32", compiled={}, **settings):
    with place.scope():
        model = build(policy)
        model.compile(of(model), "mse", jit_compile=False, **compiled)
    watch, callback = Watch(), ProgressiveUnfreezing({1: "mid", 3: "low"}, **settings)
    model.fit(x, y, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=[callback, watch])
    assert watch.moved == [[False, False, True], [False, True, True], [False, True, True], [True, True, True]], watch.moved
    return [one.numpy() for one in (*model.weights, *model.optimizer.variables)]
"""

EQUAL = """
case = sys.argv[1]
optimizers = {
    "momentum": lambda model: keras.optimizers.SGD(0.1, momentum=0.9),
    "weight decay": lambda model: keras.optimizers.AdamW(0.01, weight_decay=0.5),
    "moving average": lambda model: Adam(0.01, use_ema=True, ema_momentum=0.9),
    "layerwise": lambda model: layerwise(keras.optimizers.AdamW(0.01, weight_decay=0.5), model, {"low": 0.1, "mid": 0.5}),
}
policy, of = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}.get(case, "float32"), optimizers.get(case)
of = of or (lambda model: Adam(0.01))
settings = {"learning_rate": {0: 0.02, 2: 0.005}} if case == "rates" else {}
one, two = (train(place, of, policy, **settings) for place in (tf.distribute.get_strategy(), strategy("auto")))
assert len(one) == len(two) > 8
print(max(float(np.abs(np.subtract(a, b, dtype="float64")).max()) for a, b in zip(one, two)))
"""


@pytest.mark.parametrize("case", ["plain", "momentum", "weight decay", "moving average", "layerwise", "rates"])
def test_two_devices_equal_one(two_devices, case):
    """Weights, moments, averages and iterations; what is frozen does not move, bit for bit, until its epoch."""
    assert float(two_devices(SETUP + EQUAL, case)) < 1e-6


@pytest.mark.parametrize("case", ["float16", "bfloat16"])
def test_two_devices_equal_one_in_mixed_precision(two_devices, case):
    """As far as the sum over a batch in 8 or 11 bits is the same as two sums over its halves."""
    assert float(two_devices(SETUP + EQUAL, case)) < 5e-3


REFUSED = """
cases = {
    "steps_per_execution": {"compiled": {"steps_per_execution": 2}},
    "gradient_accumulation_steps": {"of": lambda model: Adam(0.01, gradient_accumulation_steps=2)},
    "ema_overwrite_frequency": {"of": lambda model: Adam(0.01, use_ema=True, ema_overwrite_frequency=2)},
}
for name, settings in cases.items():
    try:
        train(strategy("auto"), **{"of": lambda model: Adam(0.01), **settings})
    except ValueError as error:
        assert f"`{name}` under a MirroredStrategy" in str(error) and "Received" in str(error), error
    else:
        raise AssertionError(f"{name} was not refused")
train(strategy("auto"), lambda model: Adam(0.01))  # nothing was run that fails, so the process is as it was
print("refused")
"""


def test_what_keras_cannot_do_is_refused_before_the_first_step(two_devices):
    assert two_devices(SETUP + REFUSED) == "refused"
