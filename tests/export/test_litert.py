"""`LiteRTModel`: runs a file by its `io.json`, refuses what does not belong together, and needs no TensorFlow."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data.resize import resize
from keras_transfer.export import LiteRTModel, inference_model, read_io


def change(folder, edit):
    path = folder / "io.json"
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))
    return folder / "model_float32.tflite"


def test_law_it_answers_as_keras_does(exported, pictures):
    folder, keras_model, _ = exported
    model = LiteRTModel(folder / "model_float32.tflite", num_threads=1)
    assert model.labels == ("ant", "bee", "wasp")
    assert (model.image_size, model.channels, model.resize, model.precision) == ((16, 16), 3, "crop", "float32")
    expected = np.asarray(inference_model(keras_model)(pictures[0].astype("float32")))
    found = model.predict(pictures[0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(pictures[0][0].astype("float64")), expected[:1], atol=1e-5)
    assert model.predict([]).shape == (0, 3)


def test_paths_bytes_and_pictures_of_any_size_are_resized_as_in_training(exported, tmp_path):
    big = np.random.default_rng(0).integers(0, 256, (40, 50, 3), "uint8")
    buffer = io.BytesIO()
    Image.fromarray(big).save(buffer, "PNG")
    (tmp_path / "big.png").write_bytes(buffer.getvalue())
    model = LiteRTModel(exported[0] / "model_float32.tflite")
    expected = model.predict(resize(big, 16, "crop"))
    several = model.predict([tmp_path / "big.png", str(tmp_path / "big.png"), buffer.getvalue(), big])
    np.testing.assert_array_equal(several, expected.repeat(4, 0))
    np.testing.assert_array_equal(model.predict(tmp_path / "big.png"), expected)


def test_pictures_that_do_not_fit_are_refused(exported):
    model = LiteRTModel(exported[0] / "model_float32.tflite")
    with pytest.raises(ValueError, match=r"shape \(height, width, 3\). Received: \(16, 16, 1\)"):
        model.predict(np.zeros((16, 16), "uint8"))
    with pytest.raises(ValueError, match="uint8 picture"):
        model.predict(np.zeros((20, 20, 3), "float32"))
    with pytest.raises(ValueError, match="no such file"):
        model.predict(["missing.png"])


def test_without_io_json_it_names_the_missing_file(copied):
    (copied / "io.json").unlink()
    with pytest.raises(ValueError, match=r"needs the io.json.*copy/io.json"):
        LiteRTModel(copied / "model_float32.tflite")
    with pytest.raises(ValueError, match=r"must be a \.tflite file"):
        LiteRTModel(copied / "other.tflite")


def test_a_renamed_file_is_still_known_and_a_changed_one_is_not(copied):
    path = (copied / "model_float32.tflite").rename(copied / "insects.tflite")
    assert LiteRTModel(path).labels == ("ant", "bee", "wasp")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="do not belong together"):
        LiteRTModel(path)


def test_an_answer_off_the_reference_is_refused(copied):
    def edit(found):
        found["reference"]["expected"][0] += 1e-3

    with pytest.raises(ValueError, match=r"answer the reference picture.*a difference of 0.001"):
        LiteRTModel(change(copied, edit))


def test_shapes_must_be_those_of_the_file(copied):
    def labels(found):
        found["output"]["labels"].append("hornet")
        found["output"]["shape"] = [1, 4]
        found["reference"]["expected"].append(0.0)

    with pytest.raises(ValueError, match="shapes of the file"):
        LiteRTModel(change(copied, labels))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found.pop("output"), r"exactly the keys.*missing \['output'\]"),
        (lambda found: found.update(extra=1), r"foreign \['extra'\]"),
        (lambda found: found["input"].pop("resize"), r"io.json input must have exactly.*missing \['resize'\]"),
        (lambda found: found["input"].update(scale=2), r"foreign \['scale'\]"),
        (lambda found: found["files"]["model_float32.tflite"].pop("sha256"), r"files/model_float32.tflite.*missing"),
        (lambda found: found.update(format=2), "format 1.*Received: format 2"),
        (lambda found: found["input"].update(channels="3"), "channels must be of type int"),
        (lambda found: found.update(input=[]), "must be an object"),
        (lambda found: found["input"].update(resize="stretch"), "input/resize"),
        (lambda found: found["input"].update(range=[0, 1]), "input/range"),
        (lambda found: found["input"].update(image_size=[16, 17]), "input/shape"),
        (lambda found: found["output"].update(labels=["ant"]), "output/labels"),
        (lambda found: found["reference"].update(expected=[1.0]), "reference/expected"),
    ],
)
def test_io_json_is_read_strictly(copied, edit, message):
    with pytest.raises(ValueError, match=message):
        LiteRTModel(change(copied, edit))


def test_io_json_that_is_no_json_is_refused(copied):
    (copied / "io.json").write_text("{")
    with pytest.raises(ValueError, match="whole JSON"):
        LiteRTModel(copied / "model_float32.tflite")


def test_contract_the_content_of_io_json(exported):
    found = read_io(exported[0] / "io.json")
    assert list(found) == ["format", "files", "input", "output", "reference"]
    assert found["input"] == {
        "name": "picture",
        "shape": [1, 16, 16, 3],
        "dtype": "float32",
        "channels": 3,
        "order": "RGB",
        "range": [0, 255],
        "resize": "crop",
        "image_size": [16, 16],
    }
    assert found["output"]["meaning"] == "class probabilities"
    assert found["output"]["labels"] == ["ant", "bee", "wasp"]
    assert sum(found["reference"]["expected"]) == pytest.approx(1, abs=1e-5)


def test_it_runs_without_tensorflow_and_keras(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "copy")
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    script = f"""
import sys
from keras_transfer.export.litert import LiteRTModel
from keras_transfer.export import LiteRTModel as same
model = LiteRTModel({str(tmp_path / "copy" / "model_float32.tflite")!r})
assert model.predict([{str(tmp_path / "red.png")!r}]).shape == (1, 3) and same is LiteRTModel
heavy = [name for name in ("tensorflow", "keras", "matplotlib", "sklearn", "jax") if name in sys.modules]
print(heavy)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stderr[-2000:]
