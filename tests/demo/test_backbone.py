"""The weights that ship: small, loaded exactly, and worth something on unseen fonts and on handwriting."""

import h5py
import keras
import numpy as np
import pytest

from keras_transfer.data.samples import few_digits
from keras_transfer.demo.backbone import WEIGHTS, glyph_backbone
from keras_transfer.demo.pretrain import pretrain


def test_weights_file_is_small_and_loads_exactly(tmp_path):
    assert WEIGHTS.stat().st_size < 1_000_000
    model = glyph_backbone()
    found: list[np.ndarray] = []
    with h5py.File(WEIGHTS) as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    stored = sorted((float(np.sum(values, dtype="float64")), values.shape) for values in found)
    loaded = sorted((float(np.sum(np.asarray(v), dtype="float64")), tuple(v.shape)) for v in model.weights)
    assert stored == loaded
    model.save_weights(tmp_path / "again.weights.h5")
    twin = glyph_backbone(tmp_path / "again.weights.h5")
    for one, other in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_output_is_a_feature_map_and_layers_are_named_by_block():
    model = glyph_backbone(weights=None)
    assert model.input_shape == (None, 32, 32, 1)
    assert model.output_shape == (None, 4, 4, 96)
    parts = {layer.name.split("_")[0] for layer in model.layers if layer.weights}
    assert parts == {"stem", "block1", "block2"}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 5
    assert {norm.momentum for norm in norms} == {0.9}


def test_features_separate_handwriting_better_than_pixels_do():
    """Ten labels a digit, a seed and digits that are not shown: a linear probe on the features, an SVM on the pixels."""
    from sklearn.linear_model import LogisticRegression

    from keras_transfer.demo.rows import pixel_svm

    data = few_digits(seed=100, image_size=32)
    backbone = glyph_backbone()
    pooled = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))
    parts = [data.splits[name].gather(np.arange(len(data.splits[name]))) for name in ("train", "validation")]
    (x, y), (held_x, held_y) = [(np.asarray(pooled(x.astype("float32") / 255, training=False)), y) for x, y in parts]
    probe = LogisticRegression(C=10.0, max_iter=1000).fit(x, y).score(held_x, held_y)
    assert probe > pixel_svm(data, 100, split="validation").accuracy + 0.02


@pytest.mark.slow
def test_pretraining_is_seeded(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_transfer.demo.pretrain.CHUNK", 256)
    first, again = tmp_path / "a.weights.h5", tmp_path / "b.weights.h5"
    assert pretrain(first, chunks=1) == pytest.approx(pretrain(again, chunks=1), abs=1e-3)
    for one, other in zip(glyph_backbone(first).weights, glyph_backbone(again).weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
