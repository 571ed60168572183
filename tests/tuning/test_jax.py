"""The rooms core and tuning train on JAX where there is no TensorFlow to be imported."""

SCRIPT = """
import numpy as np
import keras
import keras_transfer as kt
from keras_transfer.core.activations import Runner, activations
from keras_transfer.core.prefix import cut
from keras_transfer.core.source import ArraySource

layers = keras.layers
x = keras.Input((16, 16, 3))
h = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(layers.RandomFlip()(x)))
h = layers.Conv2D(4, 3, name="conv2")(layers.Dropout(0.5)(h))
h = layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(h))
model = keras.Model(x, h)
pictures = np.random.default_rng(0).random((24, 16, 16, 3), "float32"), np.arange(24) % 3
before = [np.array(v) for v in model.get_layer("conv").weights + model.get_layer("bn").weights]
head = np.array(model.get_layer("head").kernel)
seen = []

class Look(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append(np.array(self.model.get_layer("head").kernel))

history = kt.tuning.feature_extraction(
    model, *pictures, validation_data=pictures, views=2, epochs=3, batch_size=24, callbacks=[Look()], verbose=0
)
after = [np.array(v) for v in model.get_layer("conv").weights + model.get_layer("bn").weights]
assert all(np.array_equal(a, b) for a, b in zip(before, after))
assert np.abs(head - seen[0]).max() > 0 and np.abs(seen[0] - seen[1]).max() > 0
assert len(history.history["val_accuracy"]) == 3
flip = model.layers[1]
drawn = []
for state in ([7, 0], [7, 0], [8, 0]):  # views are found again where the random state is the same, and leave the next one
    flip.generator.state.assign(np.array(state, "uint32"))
    found = activations(Runner(cut(model)), ArraySource(*pictures), 2, 0, show=False)
    drawn.append((found, np.array(flip.generator.state.value).tolist()))
assert drawn[1][0] is drawn[0][0] and drawn[1][1] == drawn[0][1] != [7, 0]
assert drawn[2][0] is not drawn[0][0] and not np.array_equal(drawn[2][0][1], drawn[0][0][1])
uncached = kt.tuning.full(model, *pictures, epochs=1, batch_size=8, verbose=0)
assert np.isfinite(uncached.history["loss"][0])
settings = {"mix": "cutmix", "loss": "focal", "class_weight": "balanced", "epochs": 2, "batch_size": 8, "verbose": 0}
for strategy in (kt.tuning.feature_extraction, kt.tuning.full):
    before = np.array(model.get_layer("head").kernel)
    mixed = strategy(model, *pictures, validation_data=pictures, **settings)
    assert np.isfinite(mixed.history["val_loss"]).all()
    assert np.abs(np.array(model.get_layer("head").kernel) - before).max() > 0
"""


def test_trains_on_jax_with_tensorflow_blocked(on_jax):
    assert on_jax(SCRIPT) == "done on JAX"
