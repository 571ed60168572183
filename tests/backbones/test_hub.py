"""Backbones of keras-hub from folders made here: their features, scaling, blocks, files, and what is refused."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier, build_encoder, entry, find_blocks
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.saving import load, save
from keras_transfer.core.selection import select
from keras_transfer.export import export_tflite

hub = pytest.importorskip("keras_hub")
SCALE, OFFSET = [1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2.0, -1.8]


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """The folder of a small Vision Transformer with its image converter, and the backbone itself."""
    keras.utils.set_random_seed(0)
    backbone = hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    folder = tmp_path_factory.mktemp("vit")
    backbone.save_to_preset(folder)
    hub.layers.ViTImageConverter(image_size=(32, 32), scale=SCALE, offset=OFFSET).save_to_preset(folder)
    return folder, backbone


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """The folder of a small ResNet without an image converter."""
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    folder = tmp_path_factory.mktemp("resnet")
    backbone.save_to_preset(folder)
    return folder


def pixels(count=3, side=32, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels)).astype("float32")


def test_features_are_the_backbones_on_what_its_converter_gives(vit):
    folder, backbone = vit
    x = pixels()
    tokens = np.asarray(backbone(hub.layers.ImageConverter.from_preset(str(folder))(x)))
    scaled = (x * np.float32(SCALE) + np.float32(OFFSET)).astype("float32")  # the converter in NumPy
    np.testing.assert_allclose(tokens, np.asarray(backbone(scaled)), rtol=1e-4, atol=1e-4)
    expected = {None: tokens[:, 0], "token": tokens[:, 0], "avg": tokens.mean(1), "max": tokens.max(1)}
    for pooling, features in expected.items():
        encoder = build_encoder(f"hub:{folder}", pooling=pooling)
        np.testing.assert_allclose(np.asarray(encoder(x)), features, rtol=1e-5, atol=1e-5)
    assert encoder.name == f"{folder.name}_encoder"
    assert not encoder.trainable_weights


def test_blocks_and_freezing(vit):
    model = build_classifier(f"hub:{vit[0]}", 2)
    blocks = [[layer.name for layer in block] for block in find_blocks(model)]
    assert blocks == [
        ["vit_patching_and_embedding"],
        ["transformer_block_1"],
        ["transformer_block_2"],
        ["transformer_block_3", "ln"],
    ]
    freeze(model)
    unfreeze(model, ["head", "top:1"])
    trains = {path for path, layer in select(model, "re:.*") if layer.trainable_weights and "/" in path}
    assert {path.split("/")[2] for path in trains if path.startswith("backbone/vit_encoder/")} == {
        *("transformer_block_3", "ln")
    }


@pytest.mark.slow
def test_trains_saves_and_loads_partly_frozen(vit, tmp_path):
    model = build_classifier(f"hub:{vit[0]}", 2, augmentation="none")
    freeze(model)
    unfreeze(model, ["head", "top:1"])
    before = model.get_layer("backbone").get_weights()
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    model.train_on_batch(pixels(), np.array([0, 1, 0]))
    moved = sum(np.abs(a - b).max() > 0 for a, b in zip(model.get_layer("backbone").get_weights(), before, strict=True))
    assert 0 < moved < len(before) / 2
    again = load(save(model, tmp_path / "m.keras"))
    np.testing.assert_array_equal(np.asarray(again(pixels())), np.asarray(model(pixels())))
    assert [w.trainable for w in again.weights] == [w.trainable for w in model.weights]
    assert export_tflite(model, tmp_path / "m.tflite", data=(pixels(), np.array([0, 1, 0]))).passed


@pytest.mark.slow
def test_a_file_loads_where_keras_hub_was_never_imported(vit, tmp_path):
    model = build_classifier(f"hub:{vit[0]}", 2)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "y.npy", np.asarray(model(pixels())))
    script = (
        "import sys, keras, numpy as np; import keras_transfer; p = sys.argv[1];"
        "m = keras.models.load_model(p + '/m.keras');"
        "x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype('float32');"
        "np.testing.assert_array_equal(np.asarray(m(x)), np.load(p + '/y.npy'))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_sizes(vit, resnet):
    assert entry(f"hub:{vit[0]}").image_size == 32
    assert entry(f"hub:{resnet}").image_size == 224  # takes any size
    assert build_encoder(f"hub:{vit[0]}").input_shape == (None, 32, 32, 3)
    other = build_encoder(f"hub:{vit[0]}", weights=None, input_shape=(48, 48, 3))
    assert np.asarray(other(pixels(side=48))).shape == (3, 16)
    assert other.trainable_weights
    with pytest.raises(ValueError, match=r"could not be loaded for pictures \(48, 48, 3\); weights of a Vision"):
        build_encoder(f"hub:{vit[0]}", input_shape=(48, 48, 3))


def test_a_backbone_that_names_its_input(tmp_path):
    """DINOv2 takes {"images": ...}; Keras warns where it is given a tensor instead."""
    own = hub.models.DINOV2Backbone(8, 2, 16, 2, 32, num_register_tokens=2, image_shape=(32, 32, 3))
    own.save_to_preset(tmp_path / "dino")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The structure of `inputs`")
        model = build_classifier(f"hub:{tmp_path / 'dino'}", 2, preprocessing="torch")
        features = keras.Model(model.input, model.get_layer("pooling").output)
        x = pixels()
        tokens = np.asarray(own({"images": model.get_layer("preprocessing")(x)}))
        np.testing.assert_allclose(np.asarray(features(x)), tokens[:, 0], rtol=1e-5, atol=1e-5)
        again = load(save(model, tmp_path / "m.keras"))
        np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert len(find_blocks(model)) == 3


def test_grey_pictures(vit):
    grey = build_encoder(f"hub:{vit[0]}", input_shape=(32, 32, 1))
    colour = build_encoder(f"hub:{vit[0]}")
    x = pixels(channels=1)
    np.testing.assert_array_equal(np.asarray(grey(x)), np.asarray(colour(np.repeat(x, 3, -1))))


def test_a_convolutional_preset_without_a_converter(resnet):
    name = f"hub:{resnet}"
    with pytest.raises(ValueError, match=r"has no image converter .*; give `preprocessing`, one of 'tf', .* Received"):
        build_classifier(name, 2, input_shape=(32, 32, 3))
    model = build_classifier(name, 2, input_shape=(32, 48, 3), preprocessing="torch", weights=None)
    assert model.input_shape == (None, 32, 48, 3)
    blocks = find_blocks(model)
    assert [block[0].name for block in blocks] == ["conv1_conv", "stack0_block0_1_conv", "stack1_block0_1_conv"]
    assert max(layer.momentum for layer in model.get_layer("backbone").layers if hasattr(layer, "momentum")) <= 0.9


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("hub:", r"'hub:' must be followed by a preset of keras-hub or a folder\. Received: 'hub:'"),
        ("hub:no/such/folder", r"must exist; check the path\. Received: 'no/such/folder'"),
        ("hub:no_such_preset", r"or a folder that exists\..* Received: 'no_such_preset'"),
        ("hub:vit_base_patch16_224_imgenet", r"Did you mean 'vit_base_patch16_224_imagenet' or .* Received: 'vit_"),
    ],
)
def test_what_is_no_preset(name, match):
    with pytest.raises(ValueError, match=match):
        build_classifier(name, 2)


def test_what_a_preset_excludes(vit):
    with pytest.raises(ValueError, match=r"says itself how pictures are scaled for it; leave `preprocessing` out"):
        build_classifier(f"hub:{vit[0]}", 2, preprocessing="tf")
