"""`kt.evaluate` on an exported file: the figures of its certificate, without TensorFlow or Keras."""

import subprocess
import sys

import numpy as np
import pytest

from keras_transfer.data import ImageData
from keras_transfer.evaluate import evaluate
from keras_transfer.export import LiteRTModel


@pytest.fixture(scope="module")
def file(exported):
    return LiteRTModel(exported[0] / "model_float32.tflite")


def test_law_the_file_is_as_right_as_the_model(exported, file, pictures):
    _, model, certificate = exported
    found = evaluate(file, pictures)
    assert found.class_names == ("ant", "bee", "wasp")
    assert found.accuracy == certificate.accuracy_after == evaluate(model, pictures).accuracy
    one_hot = evaluate(file, (pictures[0], np.eye(3)[pictures[1]]))
    np.testing.assert_array_equal(one_hot.probabilities, found.probabilities)
    np.testing.assert_array_equal(found.probabilities, file.predict(pictures[0]))


def test_image_data_gives_its_held_out_split_and_names(file, pictures):
    x, y = pictures
    data = ImageData.from_arrays(
        x[:20], y[:20], class_names=["ant", "bee", "wasp"], test=(x[20:], y[20:]), resize="crop"
    )
    found = evaluate(file, data)
    assert (found.split, len(found.targets), found.names[0]) == ("test", 20, "test[0]")
    assert evaluate(file, data.splits["test"]).accuracy == found.accuracy


def test_what_does_not_fit_the_file_is_refused(file, pictures):
    x, y = pictures
    other = ImageData.from_arrays(x, y, class_names=["a", "b", "c"], resize="crop")
    squashed = ImageData.from_arrays(x, y, class_names=["ant", "bee", "wasp"])
    for data, message in (
        (other, "classes must be those of the file"),
        (squashed, "resize='crop'. Received: resize='squash'"),
        ((x[:, :8], y), r"of shape \(16, 16, 3\)"),
        ((x, y[:3]), "n labels"),
        (x, "ImageData, a split of it, or arrays"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(file, data)


def test_it_needs_no_tensorflow(exported, pictures, tmp_path):
    from PIL import Image

    for place, (picture, label) in enumerate(zip(*pictures, strict=True)):
        folder = tmp_path / ("ant", "bee", "wasp")[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    script = f"""
import sys
import keras_transfer as kt
data = kt.load_images({str(tmp_path)!r}, image_size=16, resize="crop", show_progress=False, on_bad="skip")
found = kt.evaluate(kt.export.LiteRTModel({str(exported[0] / "model_float32.tflite")!r}), data)
assert 0 <= found.accuracy <= 1 and found.split == "validation"
print([name for name in ("tensorflow", "keras", "jax") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stderr[-2000:]
