"""Real weights on real photos: the backbones answer as well as their files are known to (needs the data folder)."""

import csv
import math

import h5py
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.data.resize import load_picture

# file -> (backbone, picture size, top-1 on the thousand photos that the 150 here are drawn from)
FILES = {
    "mobilenetv2_1.00_224.weights.h5": ("mobilenet_v2", 224, 0.892),
    "mobilenet_0.25_224.weights.h5": ("mobilenet_0.25", 224, 0.592),
    "mobilenet_0.25_128.weights.h5": ("mobilenet_0.25", 128, 0.458),
    "mobilenet_0.50_160.weights.h5": ("mobilenet_0.5", 160, 0.675),
    "mobilenet_0.75_192.weights.h5": ("mobilenet_0.75", 192, 0.802),
    "mobilenet_1.00_224.weights.h5": ("mobilenet", 224, 0.884),
}
FILES_ALL = {name: known[0] for name, known in FILES.items()} | {
    "mobilenetv2_0.35_224_notop.weights.h5": "mobilenet_v2_0.35"
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in list(FILES)[1:]]


def imagenet_head(path):
    """The classifier in the file: a kernel (channels, 1000), in MobileNet as a 1 x 1 convolution, and its bias."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, thing: found.update({name: thing[:]} if getattr(thing, "shape", ())[-1:] == (1000,) else {})
        )
    kernel, bias = sorted(found.values(), key=lambda array: -array.ndim)
    return [kernel.reshape(-1, 1000).astype("float32"), bias]


def top_1(data_root, file):
    name, size, _ = FILES[file]
    path = data_root / "backbones" / file
    model = build_classifier(name, 1000, weights=path, input_shape=(size, size, 3), dropout=0.0)
    model.get_layer("head").get_layer("logits").set_weights(imagenet_head(path))
    with open(data_root / "imagenet_sample" / "labels.csv", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    pictures = np.stack([load_picture(data_root / "imagenet_sample" / row["file"], size, "crop") for row in rows])
    right = model.predict(pictures, batch_size=50, verbose=0).argmax(1) == [int(row["class_index"]) for row in rows]
    assert len(right) == 150
    return int(right.sum())


@pytest.mark.fast(2)
@pytest.mark.parametrize("file", FILES_ALL)
def test_every_file_loads_by_name_to_the_last_value(data_root, file):
    path = data_root / "backbones" / file
    model = build_classifier(FILES_ALL[file], 2, weights=path, input_shape=(96, 96, 3))
    with h5py.File(path) as source:
        stored = {}
        source.visititems(
            lambda name, thing: stored.update({name: thing[:]} if isinstance(thing, h5py.Dataset) else {})
        )
    arrays = [one for one in stored.values() if 1000 not in one.shape]
    values = model.get_layer("backbone").get_weights()
    assert len(values) == len(arrays)

    def words(many):
        return sorted((one.shape, one.astype("float32").tobytes()) for one in many)

    assert words(values) == words(arrays)
    assert len(model.trainable_weights) == 2


@pytest.mark.slow
def test_the_wrong_name_is_told_the_right_one(data_root):
    for file, name in FILES_ALL.items():
        wrong = "mobilenet_v2_1.4" if name != "mobilenet_v2_1.4" else "mobilenet"
        with pytest.raises(ValueError, match=f"does not fit '{wrong}'.* The file fits '{name}'"):
            build_classifier(wrong, 2, weights=data_root / "backbones" / file)


@pytest.mark.slow
def test_mobilenet_v2_gives_its_known_accuracy(data_root):
    assert abs(top_1(data_root, "mobilenetv2_1.00_224.weights.h5") - 0.880 * 150) <= 1


@pytest.mark.parametrize("file", SLOW)
def test_the_others_lie_within_three_standard_errors(data_root, file):
    known = FILES[file][2]
    assert abs(top_1(data_root, file) / 150 - known) <= 3 * math.sqrt(known * (1 - known) / 150)
