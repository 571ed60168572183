"""Measuring needs no TensorFlow: the same report on JAX where TensorFlow cannot be imported."""

SCRIPT = """
import numpy as np
import keras
import keras_transfer as kt
from keras_transfer.export import export_tflite

keras.config.set_dtype_policy("mixed_bfloat16")
layers = keras.layers
x = keras.Input((16, 16, 3))
h = layers.Conv2D(4, 3, activation="relu")(layers.RandomFlip()(x))
model = keras.Model(x, layers.Dense(3, dtype="float32")(layers.GlobalAveragePooling2D()(h)))
pictures = np.random.default_rng(0).random((24, 16, 16, 3), "float32"), np.arange(24) % 3
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(*pictures, batch_size=8, epochs=1, verbose=0)
report = kt.evaluate(model, pictures)
assert np.allclose(report.probabilities.sum(1), 1, atol=1e-5) and len(report.targets) == 24
assert kt.inference_model(model).predict(pictures[0], verbose=0).dtype == "float32"
kt.show_predictions(model, pictures, count=3)
try:
    export_tflite(model, "model.tflite")
except ValueError as error:
    assert "TensorFlow backend" in str(error)
"""


def test_measures_on_jax_with_tensorflow_blocked(on_jax):
    assert on_jax(SCRIPT) == "done on JAX"
