"""Tuning on two devices equals one device, by weights and history; each case in a process of its own."""

import pytest

pytestmark = pytest.mark.distributed

SETUP = """
import sys
from pathlib import Path
from keras_transfer import tuning
from keras_transfer.backbones import build_classifier
from keras_transfer.core.devices import strategy

case, folder = sys.argv[1], Path(sys.argv[2])

def classifier():
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((16, 16, 3))
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name=f"conv{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(keras.layers.BatchNormalization(name=f"bn{block}")(x))
    return build_classifier(keras.Model(pixels, x), 3, augmentation="none", preprocessing="tf", dropout=0.0)

random = np.random.default_rng(0)
y = np.arange(44) % 3
x = random.integers(0, 100, (44, 16, 16, 3)).astype("float32")
x[np.arange(44), :, :, y] += 100
data = {"validation_data": (x[:10], y[:10]), "batch_size": 8, "verbose": 0}

def numbers(model):
    return [one.numpy() for one in model.weights]

def apart(one, two):
    assert len(one) == len(two)
    return max(float(np.abs(np.subtract(a, b, dtype="float64")).max()) for a, b in zip(one, two))
"""

EQUAL = """
Stage, fit_stages = tuning.Stage, tuning.fit_stages
stages = [
    Stage("head", "head", 2, 1e-2),
    Stage("top", ["head", "top:1"], 2, 1e-3, layer_decay=0.5, schedule="one_cycle", optimizer=keras.optimizers.AdamW),
]
runs = {
    "feature_extraction": lambda model: tuning.feature_extraction(model, x, y, epochs=3, learning_rate=1e-2, **data),
    "full": lambda model: tuning.full(model, x, y, epochs=2, learning_rate=1e-3, **data),
    "fine_tune": lambda model: tuning.fine_tune(model, x, y, epochs=2, head_epochs=2, **data),
    "partial": lambda model: tuning.partial(model, x, y, epochs=2, head_epochs=2, cache=False, **data),
    "rates and schedule": lambda model: fit_stages(model, stages, x, y, **data),
}
weights, curves = [], []
for place in (tf.distribute.get_strategy(), strategy("auto")):
    with place.scope():
        model = classifier()
    before = numbers(model)
    history = runs[case](model).history
    model.evaluate(x, y, verbose=0)
    assert model.predict(x[:9], verbose=0).shape == (9, 3)
    assert apart(before, numbers(model)) > 1e-4
    weights.append(numbers(model))
    curves.append([np.array(history[name]) for name in sorted(history)])
print(max(apart(*weights), apart(*curves)))
"""


@pytest.mark.parametrize("case", ["feature_extraction", "full", "fine_tune", "partial", "rates and schedule"])
def test_two_devices_equal_one(two_devices, tmp_path, case):
    """With cached activations and without, stage after stage."""
    assert float(two_devices(SETUP + EQUAL, case, str(tmp_path))) < 1e-5


RESUMED = """
class Break(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            raise KeyboardInterrupt

weights = []
for broken in (False, True):
    with strategy("auto").scope():
        model = classifier()
    settings = {"epochs": 2, "head_epochs": 2, "checkpoint": folder / str(broken), **data}
    if broken:
        try:
            tuning.fine_tune(model, x, y, callbacks=[Break()], **settings)
        except KeyboardInterrupt:
            pass
        with strategy("auto").scope():
            model = classifier()
        settings["resume"] = True
    tuning.fine_tune(model, x, y, **settings)
    weights.append(numbers(model))
print(apart(*weights))
"""


def test_an_interrupted_training_goes_on(two_devices, tmp_path):
    assert float(two_devices(SETUP + RESUMED, "", str(tmp_path))) < 1e-6
