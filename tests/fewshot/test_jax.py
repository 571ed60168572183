"""The room works on JAX where there is no TensorFlow to be imported."""

SCRIPT = """
import numpy as np
import keras
from keras_transfer.fewshot import nearest_mean
from keras_transfer.tuning import linear_probe

x = keras.Input((16, 16, 3))
h = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(keras.layers.RandomFlip()(x))
h = keras.layers.Dense(3, name="head")(keras.layers.GlobalAveragePooling2D()(h))
model = keras.Model(x, h)
y = np.arange(48) % 3
pictures = np.random.default_rng(0).random((48, 16, 16, 3), "float32")
pictures[np.arange(48), :, :, y] += 0.5
for solve in (nearest_mean, linear_probe):
    history = solve(model, pictures, y, validation_data=(pictures, y), verbose=0)
    assert history.history["val_accuracy"][0] > 0.9, history.history
    assert abs(model.evaluate(pictures, y, verbose=0)[0] - history.history["loss"][0]) < 1e-4
"""


def test_heads_are_solved_on_jax_with_tensorflow_blocked(on_jax):
    assert on_jax(SCRIPT) == "done on JAX"
