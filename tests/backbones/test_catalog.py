"""The catalogue says what Keras builds, and every backbone of it builds, trains, cuts, saves, loads and exports."""

import gc
import hashlib
import re

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier, find_blocks, table, text_names, text_table
from keras_transfer.backbones.catalog import entry, names
from keras_transfer.backbones.preprocessing import MODES, Preprocessing
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.prefix import cut
from keras_transfer.core.saving import load, save
from keras_transfer.export import export_tflite

FAST = ("mobilenet_0.25",)
# one of each other family with the slow tests; the rest, up to 350 million weights, behind a marker of its own
SLOW = ("mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_b0", "resnet50", "resnet50_v2", "densenet121")
SLOW += (
    "mobilenet_v2_0.35",
    "mobilenet_v3_small_minimalistic",
    "vgg16",
    "inception_v3",
    "inception_resnet_v2",
    "xception",
)
SLOW += ("nasnet_mobile", "convnext_tiny")


def marked(name):
    if name in FAST:
        return name
    return pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.catalogue)


ALL = [marked(name) for name in sorted(names(), key=lambda name: entry(name).parameters)]
MODULES = {
    "efficientnet": "efficientnet",
    "efficientnet_v2": "efficientnet_v2",
    "inception_v3": "inception_v3",
    "inception_resnet_v2": "inception_resnet_v2",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}


def build(known):
    return getattr(keras.applications, known.constructor)(
        weights=None, include_top=False, input_shape=(known.minimum_size, known.minimum_size, 3), **known.arguments
    )


def test_every_family_of_keras_is_there():
    """A constructor of `keras.applications` that the catalogue does not know would be found here."""
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {entry(name).constructor for name in names()} == offered
    assert len(offered) == 40


def test_the_names_carry_the_width():
    assert names()[:2] == ("mobilenet_v2", "mobilenet_v2_0.35")
    for name in names():
        width = name.rpartition("_")[2]
        alpha = float(width) if re.fullmatch(r"\d\.\d+", width) else 1.0
        assert entry(name).arguments.get("alpha", 1.0) == alpha
        letters = re.sub(r"[^a-z0-9]", "", re.sub(r"_(\d\.\d+|minimalistic)$", "", name))
        assert letters == entry(name).constructor.lower()


def test_every_entry_is_sound():
    for known in map(entry, names()):
        assert known.preprocessing in MODES
        assert known.other_channels in (None, *MODES)
        assert known.blocks is None or re.compile(known.blocks).groups == 1
        assert known.minimum_size < known.image_size
        assert known.image_size in known.imagenet_sizes
        assert 0.5 < known.top1 < 0.9
        assert known.licence in ("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0")
        assert re.fullmatch(r"[A-Z].* \d{4}, arXiv:\d{4}\.\d{4,5}", known.paper)


@pytest.mark.parametrize(
    ("word", "near"),
    [("mobilenet_v2_0.50", "mobilenet_v2_0.5"), ("mobilenetv2", "mobilenet_v2"), ("resnet", "resnet50")],
)
def test_an_unknown_name_gets_the_nearest(word, near):
    with pytest.raises(
        ValueError, match=rf"Unknown backbone\. Did you mean .*'{re.escape(near)}'.* Received: '{word}'"
    ):
        entry(word)


@pytest.mark.parametrize("family", sorted({entry(name).family for name in names()}))
def test_preprocessing_equals_the_familys_own_to_the_last_bit(family):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3)).astype("float32")
    for known in (entry(name) for name in names() if entry(name).family == family):
        module = getattr(keras.applications, MODULES.get(known.name, family))
        expected = module.preprocess_input(pixels.copy())
        np.testing.assert_array_equal(np.asarray(Preprocessing(known.preprocessing)(pixels)), expected)


def calm(model, pictures):
    """Raise the small variances of each BatchNorm to the mean one, and lower logits far apart to 0.05.

    With the statistics of four pictures as they are, a hundred random layers amplify a rounding up to a thousandfold,
    some draws of the weights more than others; that says nothing about a file, whose answers may differ by 1e-4.
    """
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            variance = layer.moving_variance
            variance.assign(keras.ops.maximum(variance, keras.ops.mean(variance)))
    spread = np.asarray(model(pictures, training=False)).std(0).max()
    for weight in model.get_layer("head").weights:
        weight.assign(weight * min(1.0, 0.05 / spread))


def fingerprint(block):
    """What tells whether a weight of `block` moved, without a copy: the largest of them weighs more than a gigabyte."""
    return [hashlib.sha256(np.asarray(w).data).digest() for layer in block for w in layer.trainable_weights]


@pytest.fixture
def cleared():
    """Keras and Python let go of a model before the next and larger one is built in the same process."""
    yield
    keras.backend.clear_session()  # collects, too


@pytest.mark.usefixtures("cleared")
@pytest.mark.parametrize("name", ALL)
def test_it_builds_trains_cuts_saves_loads_and_exports(name, tmp_path):
    """At the smallest size, on noise: the parameters, a step that moves every block, equal answers before and after."""
    known = entry(name)
    side = known.minimum_size
    model = build_classifier(name, 2, weights=None, input_shape=(side, side, 3), augmentation="none", dropout=0.0)
    backbone = model.get_layer("backbone")
    assert backbone.count_params() == known.parameters
    blocks = find_blocks(model)
    assert sorted(id(layer) for block in blocks for layer in block) == sorted(
        id(layer) for layer in backbone.layers if layer.weights
    )
    pictures = np.random.default_rng(0).uniform(0, 255, (4, side, side, 3)).astype("float32")

    before = [fingerprint(block) for block in blocks]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = (
                0.0  # this batch's statistics: with those of no batch at all, a hundred random layers overflow
            )
    # the norm of each, because gradients grow through a hundred random layers; eager, because tracing takes longer than a step
    model.compile(keras.optimizers.SGD(1e-3, clipnorm=1.0), loss, run_eagerly=True)
    assert np.isfinite(model.train_on_batch(pictures, np.array([0, 1, 0, 1])))
    for block, old in zip(blocks, before, strict=True):
        assert fingerprint(block) != old, block[0].name

    calm(model, pictures)
    expected = np.asarray(model(pictures, training=False))
    assert np.isfinite(expected).all()
    assert expected.std(0).max() > 2e-3  # twenty times what an export may differ by
    for count in {1, len(blocks) // 2, len(blocks) - 1}:
        freeze(model)
        unfreeze(model, ["head", f"top:{count}"])
        parts = cut(model)
        answer = parts.suffix(parts.prefix(pictures, training=False), training=False)
        np.testing.assert_allclose(np.asarray(answer), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert not parts.prefix.trainable_weights

    again = load(save(model, tmp_path / "m.keras"))
    np.testing.assert_array_equal(np.asarray(again(pictures, training=False)), expected)
    assert [w.trainable for w in again.weights] == [w.trainable for w in model.weights]
    del again, parts, answer
    gc.collect()
    certificate = export_tflite(model, tmp_path / "m.tflite", data=(pictures, np.array([0, 1, 0, 1])))
    assert certificate.passed


def test_the_table_shows_every_backbone(capsys):
    shown = table()
    lines = str(shown).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(names())
    assert lines[0].split() == ["name", "parameters", "size", "top-1", "licence", "paper"]
    assert "resnet50" in shown._repr_html_()
    assert [row["name"] for row in table("vgg").rows] == ["vgg16", "vgg19"]
    assert table("vgg").rows[0]["parameters"] == 14_714_688
    with pytest.raises(ValueError, match=r"`family` must be one of mobilenet_v2, .* Received: 'vgg16'"):
        table("vgg16")


def test_the_table_of_text_encoders_shows_every_shape():
    shown = text_table()
    lines = str(shown).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(text_names())
    assert lines[0].split() == ["name", "layers", "width", "tokens", "paper"]
    assert lines[8].split()[:4] == ["minilm_l6", "6", "384", "30522"]
    assert "minilm_l6" in shown._repr_html_()
