"""The builders: named parts, what starts frozen, the user's own models, round trips, and every bad input."""

import doctest
import importlib
import socket

import keras
import numpy as np
import pytest

from keras_transfer.backbones import Preprocessing, build_classifier, build_encoder
from keras_transfer.core.selection import named_layers

PARTS = ["augmentation", "preprocessing", "backbone", "pooling", "head"]
SHAPE = (32, 32, 3)


def parts(model):
    return [layer.name for layer in model.layers[1:]]


def small(**kwargs):
    return build_classifier("mobilenet_0.25", 3, **{"weights": None, "input_shape": SHAPE} | kwargs)


def pixels(count=2, shape=SHAPE):
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype("float32")


@pytest.fixture
def weights_file(tmp_path):
    path = tmp_path / "small.weights.h5"
    keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=SHAPE).save_weights(path)
    return path


def test_the_parts_have_their_names():
    model = small(hidden=(8, 4))
    assert parts(model) == PARTS
    assert [layer.name for layer in model.get_layer("head").layers] == ["hidden_1", "hidden_2", "dropout", "logits"]
    assert isinstance(model.get_layer("backbone"), keras.Model)
    assert isinstance(model.get_layer("head"), keras.Sequential)
    assert not model.compiled
    assert parts(small(augmentation="none")) == parts(small(augmentation=None)) == PARTS[1:]
    assert parts(build_encoder("mobilenet_0.25", weights=None, input_shape=SHAPE)) == PARTS[1:4]


def test_pixels_in_and_logits_out():
    model = small()
    assert model.input_shape == (None, *SHAPE)
    assert model.inputs[0].dtype == "float32"
    out = np.asarray(model(pixels()))
    assert out.shape == (2, 3)
    assert out.dtype == np.float32
    assert np.abs(out.sum(1) - 1).min() > 1e-3  # no softmax


def test_two_builds_have_equal_paths():
    first, second = ([(path, type(layer)) for path, layer in named_layers(small())] for _ in range(2))
    assert first == second
    assert len({path for path, _ in first}) == len(first)


def test_the_encoder_is_the_classifier_without_its_head():
    model = small(augmentation="none", pooling="max")
    encoder = build_encoder("mobilenet_0.25", weights=None, input_shape=SHAPE, pooling="max")
    encoder.set_weights(model.get_weights()[:-2])
    np.testing.assert_array_equal(np.asarray(model.get_layer("head")(encoder(pixels()))), np.asarray(model(pixels())))


def test_tokens_of_a_model_of_ones_own():
    """(batch, tokens, channels), of which only the caller knows whether the first speaks for all."""
    inputs = keras.Input((8, 8, 3))
    own = keras.Model(inputs, keras.layers.Reshape((-1, 5))(keras.layers.Conv2D(5, 4, 4)(inputs)))
    x = pixels(shape=(8, 8, 3))
    tokens = np.asarray(own(x))
    expected = {None: tokens.mean(1), "avg": tokens.mean(1), "max": tokens.max(1), "token": tokens[:, 0]}
    for pooling, features in (expected | {"flatten": tokens.reshape(2, -1)}).items():
        np.testing.assert_allclose(np.asarray(build_encoder(own, pooling=pooling)(x)), features, rtol=1e-5, atol=1e-4)


def test_poolings_are_what_they_say():
    encoder = {
        how: build_encoder("mobilenet_0.25", weights=None, input_shape=(64, 64, 3), pooling=how)
        for how in ("avg", "max", "flatten")
    }
    for one in encoder.values():
        one.set_weights(encoder["avg"].get_weights())
    x = pixels(shape=(64, 64, 3))
    features = np.asarray(encoder["avg"].get_layer("backbone")(encoder["avg"].get_layer("preprocessing")(x)))
    assert features.shape == (2, 2, 2, 256)
    np.testing.assert_allclose(np.asarray(encoder["avg"](x)), features.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(encoder["max"](x)), features.max((1, 2)))
    np.testing.assert_array_equal(np.asarray(encoder["flatten"](x)), features.reshape(2, -1))


def test_pretrained_starts_frozen_and_random_starts_trainable(weights_file):
    pretrained, random = small(weights=weights_file), small()
    assert [w.path.split("/")[-2] for w in pretrained.trainable_weights] == ["logits", "logits"]
    assert not pretrained.get_layer("backbone").trainable_weights
    assert len(random.trainable_weights) == len(random.get_layer("backbone").trainable_weights) + 2 > 50
    assert not build_encoder("mobilenet_0.25", weights=weights_file, input_shape=SHAPE).trainable_weights


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2_0.35", "resnet50")]


@pytest.mark.fast(1)
@pytest.mark.parametrize("name", ["mobilenet_0.25", "efficientnet_b0", *SLOW])
def test_round_trip_through_a_file(tmp_path, name):
    """What Keras' own loader gives back answers the same, in equal words."""
    model = build_classifier(name, 3, weights=None, input_shape=SHAPE, augmentation="medium", hidden=4)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(np.asarray(again(pixels())), np.asarray(model(pixels())))
    assert [path for path, _ in named_layers(again)] == [path for path, _ in named_layers(model)]
    for mine, old in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, old)


def test_mixed_precision_keeps_pixels_and_logits_in_float32(mixed_precision):
    model = small()
    assert [model.get_layer(part).compute_dtype for part in ("preprocessing", "backbone")] == ["float32", "float16"]
    assert model.get_layer("augmentation").layers[0].compute_dtype == "float32"
    assert keras.backend.standardize_dtype(model(pixels()).dtype) == "float32"


@pytest.mark.fast(2)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ["mobilenet_0.25", "resnet50", "efficientnet_b0", "convnext_tiny"])
def test_other_channels_without_pretrained_weights(name, channels):
    model = build_classifier(name, 2, weights=None, input_shape=(32, 32, channels), augmentation="strong")
    assert model.output_shape == (None, 2)
    assert model.get_layer("preprocessing").mode == ("none" if name == "efficientnet_b0" else "tf")
    assert np.isfinite(np.asarray(model(pixels(shape=(32, 32, channels)), training=True))).all()


# the user's own models


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, outputs=1):
        super().__init__(name="mine")
        self.convolution = keras.layers.Conv2D(5, 3, name="convolution")
        self.outputs_asked = outputs

    def call(self, inputs):
        features = self.convolution(inputs)
        return features if self.outputs_asked == 1 else (features, features)


def test_a_functional_model_of_ones_own(small_backbone):
    own = small_backbone()
    model = build_classifier(own, 2, augmentation="none")
    backbone = model.get_layer("backbone")
    assert model.input_shape == (None, 16, 16, 3)
    assert backbone.get_layer("first") is own.get_layer("first")
    assert own.name == "small"
    assert model.name == "small_classifier"
    assert not backbone.trainable_weights
    x = pixels(shape=(16, 16, 3))
    expected = model.get_layer("head")(np.asarray(own(x)).mean((1, 2)))
    np.testing.assert_allclose(np.asarray(model(x)), np.asarray(expected), rtol=1e-4, atol=1e-4)


def test_a_model_of_ones_own_that_is_not_pretrained(small_backbone):
    own = small_backbone()
    before = own.get_weights()
    model = build_classifier(own, 2, weights=None)
    assert len(model.get_layer("backbone").trainable_weights) == 8
    for mine, old in zip(model.get_layer("backbone").get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_a_model_of_ones_own_takes_a_file_exactly(tmp_path, small_backbone):
    source = small_backbone()
    source.save_weights(tmp_path / "a.weights.h5")
    model = build_classifier(small_backbone(), 2, weights=tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model.get_layer("backbone").get_weights()[0], source.get_weights()[0])
    assert len(model.trainable_weights) == 2


def test_sequential_subclassed_and_pooled_models(tmp_path):
    stack = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="c"), keras.layers.GlobalMaxPooling2D()]
    )
    loose = keras.Sequential([keras.layers.Conv2D(4, 3)], name="loose")
    for own, shape, pool in ((stack, None, "Identity"), (loose, (8, 8, 3), None), (Subclassed(), (8, 8, 3), None)):
        model = build_classifier(own, 2, input_shape=shape, augmentation="light")
        assert parts(model) == PARTS
        assert pool is None or type(model.get_layer("pooling")).__name__ == pool
        assert len(model.trainable_weights) == 2
        assert len(model.weights) == 4
        assert np.asarray(model(pixels(shape=(8, 8, 3)))).shape == (2, 2)


def test_preprocessing_of_ones_own(small_backbone):
    assert build_classifier(small_backbone(), 2).get_layer("preprocessing").mode == "none"
    assert build_classifier(small_backbone(), 2, preprocessing="unit").get_layer("preprocessing").mode == "unit"
    layers = [Preprocessing("tf", name="preprocessing"), keras.layers.Rescaling(1 / 127.5, -1.0, name="scale")]
    answers = []
    for layer in layers:
        part = build_encoder(small_backbone(), preprocessing=layer).get_layer("preprocessing")
        answers.append(np.asarray(part(pixels(shape=(16, 16, 3)))))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


def test_augmentation_of_ones_own(small_backbone):
    model = build_classifier(small_backbone(), 2, augmentation=keras.layers.RandomFlip(name="flip"))
    assert parts(model) == PARTS
    x = pixels(shape=(16, 16, 3))
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(model(x, training=False)))


def test_training_moves_only_what_is_not_frozen(weights_file):
    model = small(weights=weights_file)
    before = model.get_layer("backbone").get_weights()
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    head = model.get_layer("head").get_weights()
    model.fit(pixels(6), np.array([0, 0, 0, 0, 1, 2]), epochs=2, verbose=0)
    for mine, old in zip(model.get_layer("backbone").get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    assert np.abs(model.get_layer("head").get_weights()[1] - head[1]).max() > 1e-3  # how often a class is there


# bad input

BAD = [
    ({"backbone": "mobilenet_v3"}, ValueError, r"Unknown backbone\. Did you mean .* Received: 'mobilenet_v3'"),
    ({"backbone": 3}, TypeError, r"`backbone` must be a name of the catalogue or a keras.Model\. Received: 3"),
    ({"num_classes": 1}, ValueError, r"`num_classes` must be a whole number of at least 2 .* Received: 1"),
    ({"num_classes": True}, ValueError, r"`num_classes` .* Received: True"),
    ({"num_classes": 2.5}, ValueError, r"`num_classes` .* Received: 2.5"),
    ({"weights": 5}, TypeError, r"`weights` must be 'imagenet', the path of an .h5 file, or None\. Received: 5"),
    ({"weights": "nothing.h5"}, ValueError, r"`weights` must be .* an .h5 file that exists\. Received: 'nothing.h5'"),
    (
        {"weights": "imagenet", "input_shape": (64, 64, 2)},
        ValueError,
        r"takes pictures of one \(grey\), three or four channels; .* give weights=None\. Received: 2 channels",
    ),
    ({"input_shape": (31, 64, 3)}, ValueError, r"needs pictures of at least 32 x 32; .* Received: \(31, 64, 3\)"),
    (
        {"input_shape": (64, 64)},
        ValueError,
        r"`input_shape` must be \(height, width, channels\).* Received: \(64, 64\)",
    ),
    ({"input_shape": 64}, ValueError, r"`input_shape` must be .* Received: 64"),
    ({"input_shape": (64, None, 3)}, ValueError, r"`input_shape` must be .* Received: \(64, None, 3\)"),
    ({"pooling": "mean"}, ValueError, r"Unknown pooling\. .* Received: 'mean'"),
    ({"augmentation": "heavy"}, ValueError, r"Unknown augmentation\. .* Received: 'heavy'"),
    ({"augmentation": 2}, TypeError, r"`augmentation` must be one of 'none', .* Received: 2"),
    (
        {"preprocessing": "tf"},
        ValueError,
        r"'mobilenet_0.25' brings its own preprocessing; .* Received: preprocessing='tf'",
    ),
    ({"hidden": (8, 0)}, ValueError, r"`hidden` must be .* Received: \(8, 0\)"),
    ({"hidden": "8"}, ValueError, r"`hidden` must be .* Received: '8'"),
    ({"dropout": 1.0}, ValueError, r"`dropout` must be a share in \[0, 1\)\. Received: 1.0"),
    ({"dropout": -0.1}, ValueError, r"`dropout` .* Received: -0.1"),
]


@pytest.mark.parametrize(("change", "kind", "match"), BAD, ids=[str(change) for change, _, _ in BAD])
def test_bad_input_has_its_sentence(change, kind, match):
    arguments = {"backbone": "mobilenet_0.25", "num_classes": 2, "weights": None, "input_shape": SHAPE} | change
    with pytest.raises(kind, match=match):
        build_classifier(**arguments)


def test_models_that_are_no_backbone(small_backbone):
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    wide = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(2, 3)(wide)
    five = keras.layers.Reshape((-1, 2, 1, 1))(keras.layers.Conv2D(2, 3)(a))
    cases = [
        (
            {"backbone": keras.Model([a, b], a + b)},
            r"must have one input and one output; .* with 2 inputs and 1 outputs",
        ),
        ({"backbone": keras.Model(a, [a, a])}, r"must have one input and one output; .* with 1 inputs and 2 outputs"),
        (
            {"backbone": keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])},
            r"must take pictures, .* \(None, 4\)",
        ),
        ({"backbone": keras.Model(wide, features)}, r"leaves its picture size open; give `input_shape`"),
        (
            {"backbone": small_backbone(), "input_shape": (8, 8, 3)},
            r"must be that of the model, \(16, 16, 3\), or left out\. Received: \(8, 8, 3\)",
        ),
        ({"backbone": Subclassed()}, r"does not say which pictures it takes; give `input_shape`"),
        ({"backbone": Subclassed(2), "input_shape": (8, 8, 3)}, r"must give one tensor\. Received: model 'mine'"),
        (
            {"backbone": keras.Model(a, five)},
            r"must give a feature map .*, tokens .* Received: output shape \(None, 36,",
        ),
        ({"backbone": small_backbone(), "pooling": "token"}, r"Pooling 'token' takes the first of a fixed number"),
        ({"backbone": small_backbone(), "preprocessing": "tv"}, r"Unknown preprocessing\. .* Received: 'tv'"),
    ]
    for arguments, match in cases:
        with pytest.raises(ValueError, match=match):
            build_classifier(num_classes=2, **arguments)
    assert build_classifier(keras.Model(wide, features), 2, input_shape=(9, 8, 3)).input_shape == (None, 9, 8, 3)
    with pytest.raises(TypeError, match=r"`preprocessing` must be one of 'tf', .* Received: 3"):
        build_classifier(small_backbone(), 2, preprocessing=3)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


def test_the_published_file_is_asked_for(no_network):
    """Some families make the file's name from the model's, which must therefore not be `backbone`."""
    for name, file in (("efficientnet_b0", "efficientnetb0_notop.h5"), ("convnext_tiny", "convnext_tiny_notop.h5")):
        with pytest.raises(ValueError, match=rf"could not be fetched \(URL fetch failure on .*/{file}"):
            build_classifier(name, 2, input_shape=(37, 41, 3))


def test_without_a_network_one_sentence_says_what_to_do(no_network, capsys):
    with pytest.raises(ValueError, match=r"ImageNet weights of 'mobilenet_0\.25' could not be fetched") as caught:
        build_classifier("mobilenet_0.25", 2, input_shape=(37, 41, 3))
    message = str(caught.value)
    assert "--weights FILE|none" in message
    assert message.endswith("Received: weights='imagenet'")
    assert "\n" not in message
    assert capsys.readouterr().out == ""
    assert keras.config.is_interactive_logging_enabled()


def test_the_examples_run():
    for room in ("augmentation", "catalog", "catalog_table", "classifier", "encoder", "preprocessing"):
        result = doctest.testmod(importlib.import_module(f"keras_transfer.backbones.{room}"))
        assert result.failed == 0
        assert result.attempted > 0
