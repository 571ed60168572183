"""`predict`: labels and probabilities from a `.tflite` without TensorFlow, or from the Keras model of a run."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_transfer.cli import app
from keras_transfer.config import make_config, write_config

LABELS = ["ant", "bee", "größte"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder with all that `predict` reads: an untrained model, its `.tflite`, its labels."""
    import keras

    import keras_transfer as kt

    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(len(LABELS), name="logits")(x))
    kt.save(model, folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    write_config(folder / "config.yaml", make_config({"data": "photos", "image_size": 16, "resize": "crop"}))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")
    path = folder / "model_float32.tflite"
    kt.export_tflite(model, path, data=(pictures, np.zeros(4, int)), class_names=LABELS, resize="crop")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two pictures in a folder, one in a folder of it, and a file that is none."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "more").mkdir()
    (place / "notes.txt").write_text("no picture")
    for number, name in enumerate(["b.png", "a.JPG", "more/c.png"]):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), "uint8")
        Image.fromarray(pixels).save(place / name, format="PNG")
    return place


def test_a_tflite_answers_without_tensorflow(folder, pictures):
    code = "import sys; from keras_transfer.cli.app import run; code = run(sys.argv[1:])\n"
    code += "print(code, [name for name in ('tensorflow', 'keras', 'jax', 'pydantic') if name in sys.modules][:2])"
    command = [sys.executable, "-c", code, "predict", str(folder / "model_float32.tflite"), str(pictures), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *lines, last = done.stdout.splitlines()
    assert last in ("0 []", "0 ['pydantic']")
    found = json.loads("\n".join(lines))
    assert [one["path"] for one in found] == [str(pictures / name) for name in ("a.JPG", "b.png", "more/c.png")]
    for one in found:
        assert {guess["label"] for guess in one["predictions"]} == set(LABELS)
        values = [guess["probability"] for guess in one["predictions"]]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-4)


def test_a_run_answers_the_same_with_and_without_its_tflite(folder, pictures, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*.tflite", "io.json"))
    answers = []
    for run in (folder, bare):
        assert app.run(["predict", str(run), str(pictures), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for ours, theirs in zip(*answers, strict=True):
        assert ours["path"] == theirs["path"]
        by_label = [{guess["label"]: guess["probability"] for guess in one["predictions"]} for one in (ours, theirs)]
        assert by_label[0] == pytest.approx(by_label[1], abs=1e-4)


def test_lines_patterns_and_top(folder, pictures, capsys):
    assert app.run(["predict", str(folder), str(pictures / "*.png"), str(pictures / "a.JPG"), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(pictures / "b.png"), str(pictures / "a.JPG")]
    assert all(len(line.split()) == 3 for line in lines)


def test_bad_input(folder, pictures, tmp_path, capsys):
    alone = shutil.copy(folder / "model_float32.tflite", tmp_path / "alone.tflite")
    (tmp_path / "empty").mkdir()
    for arguments, sentence in [
        ([folder, pictures / "notes.txt"], f"Received: {pictures / 'notes.txt'}"),
        ([folder, pictures / "none.jpg"], f"The picture must exist. Received: '{pictures / 'none.jpg'}'"),
        ([folder, pictures / "*.tif"], "No file matches the pattern"),
        ([folder, tmp_path / "empty"], "A folder must hold pictures"),
        ([alone, pictures], f"io.json that was exported with it, at '{tmp_path / 'io.json'}'"),
        ([tmp_path / "none", pictures], "A run's folder or a .tflite file is needed"),
        ([pictures / "notes.txt", pictures], "A run's folder or a .tflite file is needed"),
        ([tmp_path / "empty", pictures], "A run's folder holds model_float32.tflite or model.keras"),
        ([folder, pictures, "--top", "0"], "Invalid value for '--top'"),
    ]:
        assert app.run(["predict", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert sentence in err
        assert err.startswith("Error: ")
        assert "Traceback" not in err
        assert not out
