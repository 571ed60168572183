"""Effect: a real MobileNetV2 on real photos answers in LiteRT as in Keras, in float32 and in mixed precision."""

import keras
import numpy as np
import pytest

from keras_transfer.data.resize import load_picture
from keras_transfer.export import LiteRTModel, export_tflite, inference_model


@pytest.fixture(scope="module")
def photos(data_root):
    return sorted((data_root / "hymenoptera" / "val").rglob("*.jpg"))[::4]


def build(weights):
    layers = keras.layers
    backbone = keras.applications.MobileNetV2(
        input_shape=(96, 96, 3), alpha=0.35, include_top=False, weights=None, name="backbone"
    )
    backbone.load_weights(weights)
    keras.utils.set_random_seed(0)
    pictures = keras.Input((96, 96, 3))
    x = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)], name="augmentation")(pictures)
    x = layers.GlobalAveragePooling2D(name="pooling")(backbone(layers.Rescaling(1 / 127.5, -1)(x)))
    head = keras.Sequential([layers.Dropout(0.2), layers.Dense(2, dtype="float32", name="logits")], name="head")
    return keras.Model(pictures, head(x))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_effect_mobilenet_on_ants_and_bees(data_root, photos, tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build(data_root / "backbones" / "mobilenetv2_0.35_224_notop.weights.h5")
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.stack([load_picture(photo, 96) for photo in photos])
    path = tmp_path / "model_float32.tflite"
    final = inference_model(model)
    certificate = export_tflite(final, path, data=x, class_names=["ants", "bees"])
    assert certificate.passed
    assert certificate.pictures == len(photos)
    found = LiteRTModel(path).predict(photos)
    np.testing.assert_allclose(found, final.predict(x.astype("float32"), verbose=0), atol=1e-4)
    assert found.std() > 0.01
    logits = np.asarray(model.predict(x.astype("float32"), verbose=0), "float32")
    difference = np.abs(found - keras.ops.convert_to_numpy(keras.ops.softmax(logits))).max()
    assert (difference < 1e-4) == (policy == "float32"), difference
