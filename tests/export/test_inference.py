"""`inference_model`: deterministic, float32, probabilities; equal to softmax(rest) written in NumPy."""

import keras
import numpy as np
import pytest

from keras_transfer.export import inference_model
from keras_transfer.export.inference import predict_batch

layers = keras.layers


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def predict(model, x):
    return np.asarray(model(x.astype("float32"), training=False))


def test_number_softmax_of_a_dense_layer():
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(5, 2, 2, 1)).astype("float32")
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(predict(inference_model(model), x), softmax(x.reshape(5, 4) @ kernel + bias), atol=1e-6)


def test_law_same_answer_twice_even_when_called_without_training(small, pictures):
    model, x = small(), pictures[0].astype("float32")
    before = [np.array(w) for w in model.get_weights()]
    inference = inference_model(model)
    np.testing.assert_array_equal(inference(x), inference(x))
    np.testing.assert_allclose(inference(x), softmax(predict(model, x)), atol=1e-6)
    assert not any("random" in type(layer).__name__.lower() for layer in inference.layers)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_law_weights_are_shared(small, pictures):
    model = small()
    inference = inference_model(model)
    assert {id(v) for v in inference.variables} <= {id(v) for v in model.variables}
    head = model.get_layer("head").layers[-1]
    head.bias.assign(head.bias + np.array([100.0, 0, 0], "float32"))
    np.testing.assert_allclose(predict(inference, pictures[0])[:, 0], 1, atol=1e-6)


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_probabilities_stay_as_they_are(small, pictures, end):
    model = small(end=end)
    np.testing.assert_allclose(predict(inference_model(model), pictures[0]), predict(model, pictures[0]), atol=1e-6)


@pytest.mark.parametrize("end", ["linear", "sigmoid"])
def test_one_unit_means_two_classes(small, pictures, end):
    model = small(1, end=end)
    p = predict(model, pictures[0])
    p = 1 / (1 + np.exp(-p)) if end == "linear" else p
    np.testing.assert_allclose(predict(inference_model(model), pictures[0]), np.hstack([1 - p, p]), atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"end": "softmax"}, {"classes": 1}, {"classes": 1, "end": "sigmoid"}])
def test_law_the_inference_model_of_an_inference_model_is_the_same(small, pictures, arguments):
    once = inference_model(small(**arguments))
    np.testing.assert_array_equal(predict(inference_model(once), pictures[0]), predict(once, pictures[0]))


@keras.saving.register_keras_serializable("export_tests")
class Scale(layers.Layer):
    """A layer of somebody's own."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_law_mixed_precision_gives_the_float32_twin(small, pictures, policy):
    def make():
        model = small()
        top = layers.Dense(3, name="top", dtype="float32")(Scale(name="scale")(model.output))
        return keras.Model(model.inputs[0], top)

    keras.config.set_dtype_policy(policy)
    try:
        low = make()
        twin = inference_model(low)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")
    full = make()
    full.set_weights([np.asarray(w, w.dtype if w.dtype.kind in "iu" else "float32") for w in low.get_weights()])
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"}
    assert all(v.dtype == "float32" for v in twin.weights)
    np.testing.assert_allclose(predict(twin, pictures[0]), softmax(predict(full, pictures[0])), atol=1e-6)
    assert np.abs(predict(twin, pictures[0]) - softmax(predict(low, pictures[0]).astype("float32"))).max() > 0
    np.testing.assert_array_equal(predict(inference_model(twin), pictures[0]), predict(twin, pictures[0]))


class Own(keras.Model):
    """A subclassed model: no graph to look into."""

    def __init__(self):
        super().__init__()
        self.flat, self.noise, self.dense = layers.Flatten(), layers.Dropout(0.9), layers.Dense(3)

    def call(self, x, training=None):
        return self.dense(self.noise(self.flat(x), training=training))


def test_a_subclassed_model_is_wrapped_once_it_is_built(pictures):
    model, x = Own(), pictures[0] / 255
    with pytest.raises(ValueError, match=r"must have been built.*Received: Own"):
        inference_model(model)
    logits = predict(model, x)
    inference = inference_model(model)
    np.testing.assert_allclose(inference(x.astype("float32")), softmax(logits), atol=1e-6)
    np.testing.assert_allclose(predict_batch(inference, x[:5], 8), softmax(logits)[:5], atol=1e-5)


def test_other_outputs_are_refused(small):
    with pytest.raises(TypeError, match=r"must be a keras.Model. Received: int"):
        inference_model(3)
    model = small()
    with pytest.raises(ValueError, match="one output"):
        inference_model(keras.Model(model.inputs, [model.outputs[0], model.get_layer("pooling").output]))
    with pytest.raises(ValueError, match="one output of shape"):
        inference_model(keras.Model(model.inputs, model.get_layer("conv").output))


def test_a_short_batch_is_filled_up_and_cut_again(small, pictures):
    inference = inference_model(small())
    whole = predict_batch(inference, pictures[0], 40)
    parts = [predict_batch(inference, pictures[0][start : start + 32], 32) for start in (0, 32)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
