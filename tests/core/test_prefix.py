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


def test_a_layer_called_on_both_sides_moves_the_cut_before_it():
    x = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    h = keras.layers.Dense(4, name="first")(x)
    h = shared(keras.layers.Dense(4, name="alive")(shared(h)))
    model = keras.Model(x, h)
    freeze(model, ["first", "shared"])
    parts = cut(model)
    assert parts is None or [layer.name for layer in parts.prefix.layers][-1] == "first"
    if parts is not None:
        batch = np.ones((2, 4), "float32")
        np.testing.assert_allclose(together(parts, batch), np.asarray(model(batch)), atol=1e-6)


def test_augmentation_behind_a_normalization_is_augmentation_still():
    layers = keras.layers
    x = keras.Input((8, 8, 3))
    h = layers.RandomFlip(name="flip")(layers.Normalization(mean=0.5, variance=1.0, name="norm")(x))
    h = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(h))
    model = keras.Model(x, layers.Dense(2, name="head")(h))
    freeze(model, "conv")
    parts = cut(model)
    assert "flip" in [layer.name for layer in parts.augmentation.layers]
    assert "flip" not in [layer.name for layer in parts.prefix.layers]


def test_two_graphs_that_differ_in_a_constant_are_told_apart():
    from keras_transfer.core.surgery import describe

    def model(change):
        x = keras.Input((4, 4, 3))
        return keras.Model(x, keras.layers.GlobalAveragePooling2D()(change(x)))

    kinds = [lambda x: x * 2.0, lambda x: x * 3.0, lambda x: x[:, :2], lambda x: x[:, 1:3]]
    told = [repr(describe(model(kind))) for kind in kinds]
    assert len(set(told)) == 4
    assert told == [repr(describe(model(kind))) for kind in kinds]


def test_a_nested_model_called_twice_is_not_cut_inside():
    x = keras.Input((4,))
    inner = keras.Model(x, keras.layers.Dense(4, name="b")(keras.layers.Dense(4, name="a")(x)), name="nested")
    y = keras.Input((4,))
    model = keras.Model(y, keras.layers.Dense(2)(inner(inner(y))))
    assert cut(freeze(model, "a")) is None
