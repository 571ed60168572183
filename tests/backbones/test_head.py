"""`head=`: any layer or model from the pooled features to logits, and what is refused."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core.selection import select
from keras_transfer.tuning import feature_extraction


def built(small_backbone, head, **kwargs):
    return build_classifier(small_backbone(), 3, head=head, augmentation="none", preprocessing="tf", **kwargs)


def cosine_head():
    features = keras.Input((8,))
    x = keras.layers.UnitNormalization()(features)
    return keras.Model(features, keras.layers.Dense(3, use_bias=False, name="logits")(x), name="cosine")


@pytest.mark.parametrize(
    "head",
    [
        lambda: keras.layers.Dense(3, name="classes"),
        lambda: keras.layers.Dense(3, name="head"),
        cosine_head,
        lambda: keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)]),
    ],
    ids=["layer", "named", "model", "stack"],
)
def test_a_head_is_called_on_the_pooled_features(small_backbone, head, tmp_path):
    own = head()
    model = built(small_backbone, own)
    assert model.layers[-1].name == "head"
    x = np.random.default_rng(0).uniform(0, 255, (6, 16, 16, 3)).astype("float32")
    features = keras.Model(model.input, model.get_layer("pooling").output)(x)
    np.testing.assert_allclose(np.asarray(model(x)), np.asarray(own(features)), rtol=1e-6)
    assert {id(w) for w in model.trainable_weights} == {id(w) for w in own.trainable_weights}
    assert "head" in [path for path, _ in select(model, "head")]
    before = own.get_weights()
    feature_extraction(model, x, np.arange(6) % 3, epochs=1, views=1, verbose=0)
    assert all(np.abs(new - old).max() > 0 for new, old in zip(own.get_weights(), before, strict=True))
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(np.asarray(keras.models.load_model(tmp_path / "m.keras")(x)), np.asarray(model(x)))


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"head": 3}, TypeError, r"`head` must be a Keras layer or model, or None\. Received: 3"),
        ({"head": keras.layers.Dense}, TypeError, r"`head` must be a Keras layer or model, or None\. Received: <class"),
        ({"hidden": 8}, ValueError, r"leave `hidden` and `dropout` out\. Received: hidden=8, dropout=None"),
        ({"dropout": 0.2}, ValueError, r"leave `hidden` and `dropout` out\. Received: hidden=\(\), dropout=0.2"),
    ],
)
def test_what_a_head_excludes(small_backbone, change, kind, match):
    with pytest.raises(kind, match=match):
        built(small_backbone, **{"head": keras.layers.Dense(3)} | change)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (lambda: keras.layers.Dense(2), r"into logits \(None, 3\)\. Received: a head that gives \(None, 2\)"),
        (lambda: keras.layers.Reshape((8, 1)), r"into logits \(None, 3\)\. Received: .* \(None, 8, 1\)"),
        (lambda: keras.layers.Dense(3, "softmax"), r"must give logits; leave the softmax or sigmoid at its end out"),
        (lambda: keras.layers.Dense(3, "sigmoid", name="head"), r"must give logits; leave the softmax"),
    ],
)
def test_a_head_that_gives_no_logits(small_backbone, head, match):
    with pytest.raises(ValueError, match=match):
        built(small_backbone, head())
