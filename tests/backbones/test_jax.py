"""The room trains on the JAX backend where there is no TensorFlow, in a process of its own."""

SCRIPT = """
import keras
import numpy as np
from keras_transfer.backbones import build_classifier, find_blocks

inputs = keras.Input((16, 16, 3))
x = keras.layers.Conv2D(4, 3, 2, name="first")(inputs)
x = keras.layers.BatchNormalization(name="first_bn")(x)
own = keras.Model(inputs, keras.layers.Conv2D(8, 3, 2, name="second")(x), name="own")
model = build_classifier(own, 2, weights=None, augmentation="strong", preprocessing="tf")
model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
assert model.jit_compile
rng = np.random.default_rng(0)
pixels, labels = rng.uniform(0, 255, (24, 16, 16, 3)).astype("float32"), np.arange(24) % 2
before = model.get_weights()
losses = model.fit(pixels, labels, batch_size=8, verbose=0).history["loss"]
assert np.isfinite(losses).all() and len(find_blocks(model)) == 2
assert all(np.abs(new - old).max() > 0 for new, old in zip(model.get_weights(), before) if old.ndim > 1)
model.save(sys.argv[1])
again = keras.models.load_model(sys.argv[1])
np.testing.assert_array_equal(np.asarray(again(pixels)), np.asarray(model(pixels)))
"""


def test_three_steps_on_jax_without_tensorflow(on_jax, tmp_path):
    assert on_jax(SCRIPT, str(tmp_path / "m.keras")) == "done on JAX"
