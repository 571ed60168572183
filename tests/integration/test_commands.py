"""The commands on a finished run, and the exit codes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from keras_transfer.cli.app import run as command


def test_evaluate(run, capsys):
    assert command(["evaluate", str(run), str(run.parents[1] / "colours"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    metrics = json.loads((run / "metrics.json").read_text())
    assert told["split"] == "test"
    assert told["accuracy"] == pytest.approx(metrics["test"]["accuracy"])


def test_evaluate_a_plain_folder_of_classes(run, capsys, photos, tmp_path):
    photos(tmp_path / "new", {"red": 3, "blue": 2}, seed=5)
    assert command(["evaluate", str(run), "new", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["split"] == "all"
    assert "trained this model" not in told.err


def test_evaluate_says_that_the_pictures_trained_the_model(run, capsys, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    assert command(["evaluate", str(run), "colours/train", "--json"]) == 0
    assert "24 of the 24 pictures trained this model" in capsys.readouterr().err


@pytest.mark.slow
def test_export_proves_itself_again(run, capsys, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "model_float32.tflite").unlink()
    assert command(["export", "copy", "--precision", "float32", "--data", str(run.parents[1] / "colours")]) == 0
    assert (copy / "model_float32.tflite").is_file()
    assert (
        command(["predict", "copy/model_float32.tflite", str(run.parents[1] / "colours" / "test" / "red" / "0.png")])
        == 0
    )


def test_list(run, capsys):
    assert command(["list", str(run.parent), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["backbone"], row["strategy"], row["split"]) == (
        "colours",
        "mobilenet_0.25",
        "full",
        "test",
    )


def test_predict_agrees_with_predictions_csv(run, capsys):
    import csv

    with open(run / "predictions.csv", newline="") as file:
        first = next(csv.DictReader(file))
    assert command(["predict", str(run), str(run.parents[1] / "colours" / first["path"]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert first["predicted"] in json.dumps(told)


def test_predict_a_file_without_tensorflow(run):
    picture = run.parents[1] / "colours" / "test" / "red" / "0.png"
    code = (
        "import sys; from keras_transfer.cli.app import run; code = run(sys.argv[1:]);"
        "assert code == 0; assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules), 'heavy'"
    )
    arguments = ["predict", str(run / "model_float32.tflite"), str(picture)]
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_below_min_accuracy_is_one_and_the_run_is_there(capsys, photos, tmp_path, small):
    photos(tmp_path / "p", {"red": 5, "blue": 5})
    # nobody reaches 1.0 with labels at random: the same colour in both classes
    for index in range(5):
        photos(tmp_path / "q", {"red": 1}, seed=10 + index)
        (tmp_path / "p" / "blue" / f"{index}.png").unlink()
        shutil.move(tmp_path / "q" / "red" / "0.png", tmp_path / "p" / "blue" / f"{index}.png")
    code = command(["fit", "p", *small, "--min-accuracy", "1.0", "--quiet"])
    captured = capsys.readouterr()
    assert code == 1
    assert "below --min-accuracy" in captured.err
    assert (tmp_path / "saved_models" / "p" / "metrics.json").is_file()


def test_an_interrupt_leaves_nothing_and_exits_with_130(monkeypatch, photos, tmp_path, small):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    photos(tmp_path / "p", {"red": 5, "blue": 5})
    monkeypatch.setattr("keras_transfer.pipeline.training.train_model", interrupted)
    assert command(["fit", "p", *small]) == 130
    assert sorted(os.listdir(tmp_path)) == ["p"]


@pytest.mark.slow
def test_a_failed_certificate_leaves_no_file_its_reason_and_exit_1(monkeypatch, capsys, photos, tmp_path, small):
    import keras_transfer.export.tflite as tflite

    photos(tmp_path / "p", {"red": 5, "blue": 5})
    real = tflite.convert

    def tampered(inference, *how):
        inference.trainable_variables[-1].assign(
            inference.trainable_variables[-1] + 3.0 * (inference.output_shape[-1] - 1)
        )
        for variable in inference.trainable_variables[-2:]:
            variable.assign(-variable * 40 + 1)
        return real(inference, *how)

    def convert(inference, *how):
        before = inference.get_weights()
        try:
            return tampered(inference, *how)
        finally:
            inference.set_weights(before)

    monkeypatch.setattr(tflite, "convert", convert)
    assert command(["fit", "p", *small, "--quiet"]) == 1
    run = tmp_path / "saved_models" / "p"
    certificate = json.loads((run / "certificate.json").read_text())["float32"]
    assert certificate["passed"] is False
    assert certificate["reason"]
    assert not list(run.glob("*.tflite"))
    assert (run / "report.html").is_file()
    assert "certificate" in capsys.readouterr().err


@pytest.mark.slow
def test_names_go_on_counting_and_overwrite_replaces(photos, tmp_path, run, small, capsys):
    saved = tmp_path / "saved_models"
    shutil.copytree(run, saved / "p")
    photos(tmp_path / "p", {"red": 5, "blue": 5})
    assert command(["fit", "p", *small]) == 0
    assert (
        "saved_models/p is there already (--overwrite would replace it), so this run is called p-2."
        in capsys.readouterr().out
    )
    assert sorted(os.listdir(saved)) == ["p", "p-2"]
    assert command(["fit", "p", *small, "--quiet", "--resume"]) == 2
    assert "'saved_models/p', where the run is finished" in capsys.readouterr().err
    assert command(["fit", "p", *small, "--quiet", "--overwrite"]) == 0
    assert (saved / "p" / "labels.txt").read_text() == "blue\nred\n"
    assert sorted(os.listdir(saved)) == ["p", "p-2"]


@pytest.mark.slow
def test_mixed_precision_is_exported_certified_and_measured_as_float32(photos, tmp_path, small):
    import keras
    import numpy as np

    import keras_transfer as kt

    photos(tmp_path / "p", {"red": 6, "blue": 6})
    assert command(["fit", "p", *small, "--mixed-precision", "--quiet"]) == 0
    assert keras.config.dtype_policy().name == "float32"  # put back
    run = tmp_path / "saved_models" / "p"
    model = kt.load(run)
    assert model.get_layer("backbone").layers[1].dtype_policy.compute_dtype in ("bfloat16", "float16")
    twin = kt.inference_model(model)
    assert {layer.dtype_policy.compute_dtype for layer in twin.get_layer("backbone").layers} == {"float32"}
    certificate = json.loads((run / "certificate.json").read_text())["float32"]
    assert certificate["passed"]
    assert certificate["max_difference"] < 1e-4
    data = kt.load_images("p", image_size=32)
    x, y = data.splits["validation"].gather(np.arange(len(data.splits["validation"])))
    right = float(np.mean(twin.predict(x, verbose=0).argmax(-1) == y))
    assert json.loads((run / "metrics.json").read_text())["validation"]["accuracy"] == pytest.approx(right)
