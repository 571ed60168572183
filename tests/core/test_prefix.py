"""The cut: three parts that together are the model, and nothing that trains or is random before it."""

import keras
import numpy as np
import pytest

from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.prefix import cut, split_augmentation


def together(parts, x):
    if parts.augmentation is not None:
        x = parts.augmentation(x, training=False)
    return np.asarray(parts.suffix(parts.prefix(x, training=False), training=False))


@pytest.mark.parametrize("augmentation", [False, True])
@pytest.mark.parametrize("alive", ["head", ["head", "conv3"], ["head", "conv2"], ["head", "bn3"]])
def test_the_parts_are_the_model(small_model, pictures, augmentation, alive):
    model = unfreeze(freeze(small_model(augmentation)), alive, batch_norm="train")
    parts = cut(model)
    assert not parts.prefix.trainable_weights
    assert (parts.augmentation is not None) == augmentation
    assert {id(v) for v in parts.suffix.trainable_weights} == {id(v) for v in model.trainable_weights}
    x = pictures[0][:4]
    np.testing.assert_allclose(together(parts, x), np.asarray(model(x, training=False)), atol=1e-6)


def test_the_cut_lies_as_late_as_it_can(small_model):
    model = freeze(small_model(), "backbone")
    assert cut(model).prefix.output.shape == (None, 8)  # behind the pooling, before the head's Dropout
    unfreeze(model, "conv3")
    assert cut(model).prefix.output.shape == (None, 14, 14, 8)
    unfreeze(model, "conv2")  # inside the residual block there is no single tensor: the cut falls before it
    assert [layer.name for layer in cut(model).prefix.layers[-1].layers][-1] == "bn1"


def test_nothing_frozen_means_no_cut(small_model):
    assert cut(small_model()) is None


def test_a_trainable_batch_norm_without_weights_to_train_still_moves():
    x = keras.Input((4,))
    h = keras.layers.Dense(4, name="a")(x)
    h = keras.layers.BatchNormalization(center=False, scale=False, name="bn")(h)
    model = keras.Model(x, keras.layers.Dense(2, name="b")(h))
    model.get_layer("a").trainable = False
    assert [layer.name for layer in cut(model).prefix.layers][-1] == "a"


def test_split_augmentation(small_model, pictures):
    model = small_model(augmentation=True)
    augmentation, rest = split_augmentation(model)
    assert [layer.name for layer in augmentation.layers][-1] == "augmentation"
    x = pictures[0][:4]
    np.testing.assert_allclose(np.asarray(rest(x, training=False)), np.asarray(model(x, training=False)), atol=1e-6)
    assert {id(v) for v in rest.weights} == {id(v) for v in model.weights}
    assert split_augmentation(small_model())[0] is None


def test_resizing_in_front_is_no_augmentation():
    x = keras.Input((8, 8, 3))
    h = keras.layers.Resizing(4, 4)(x)
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
    augmentation, rest = split_augmentation(model)
    assert augmentation is None
    assert rest.input_shape == (None, 8, 8, 3)


def test_augmentation_that_changes_the_shape_cannot_be_taken_off():
    x = keras.Input((8, 8, 3))
    h = keras.layers.Flatten()(keras.layers.RandomCrop(4, 4)(x))
    with pytest.raises(ValueError, match="keep the pictures' shape"):
        split_augmentation(keras.Model(x, keras.layers.Dense(2)(h)))


def test_sequential_models_are_cut_too(pictures):
    layers = keras.layers
    stack = [
        layers.RandomFlip(),
        layers.Conv2D(4, 3, name="c"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, name="d"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3)), *stack])
    model.get_layer("c").trainable = False
    parts = cut(model)
    assert parts.prefix.output.shape == (None, 4)
    np.testing.assert_allclose(
        together(parts, pictures[0][:4]), np.asarray(model(pictures[0][:4], training=False)), atol=1e-6
    )


def test_a_subclassed_model_is_not_cut():
    class Mine(keras.Model):
        def call(self, x):
            return x

    assert cut(Mine()) is None
    assert split_augmentation(Mine())[0] is None
