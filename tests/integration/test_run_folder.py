"""The run folder is a contract: these files, these keys, and figures that agree with each other."""

import csv
import json

import numpy as np
import pytest
import yaml

import keras_transfer as kt

FILES = {
    "scan.json",
    "model.keras", "freeze.json", "model_float32.tflite", "io.json", "labels.txt", "certificate.json", "metrics.json",
    "predictions.csv", "history.json", "split.csv", "config.yaml", "report.html",
}  # fmt: skip


def read(path):
    return json.loads(path.read_text())


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_there_and_nothing_else(run):
    assert {path.name for path in run.iterdir()} == FILES
    assert [path.name for path in run.parent.iterdir()] == ["colours"]  # no .partial is left


def test_labels_and_split(run):
    assert (run / "labels.txt").read_text().splitlines() == ["blue", "green", "red"]
    split = rows(run / "split.csv")
    assert list(split[0]) == ["path", "label", "split"]
    assert len(split) == 48
    assert {row["split"] for row in split} == {"train", "validation", "test"}
    assert all(row["path"].split("/")[1] == row["label"] for row in split)


def test_metrics(run):
    metrics = read(run / "metrics.json")
    assert list(metrics) == ["validation", "test", "last_epoch", "seconds"]
    for split in ("validation", "test"):
        assert {"accuracy", "macro_f1", "per_class"} <= set(metrics[split])
        assert list(metrics[split]["per_class"]) == ["blue", "green", "red"]
    assert set(metrics["seconds"]) == {"scan", "fit", "export", "total"}
    assert metrics["seconds"]["total"] >= metrics["seconds"]["fit"] > 0
    assert metrics["last_epoch"]["epoch"] == 2
    assert 0 <= metrics["last_epoch"]["accuracy"] <= 1


def test_history_counts_epochs_from_one(run):
    history = read(run / "history.json")
    assert history["epoch"] == [1, 2]
    assert history["best_epoch"] == 1 + int(np.argmax(history["val_accuracy"]))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)


def test_predictions_agree_with_metrics_and_model(run):
    predictions = rows(run / "predictions.csv")
    metrics = read(run / "metrics.json")
    assert len(predictions) == 12  # the test split
    assert all(row["path"].startswith("test/") for row in predictions)
    right = np.mean([row["label"] == row["predicted"] for row in predictions])
    assert right == pytest.approx(metrics["test"]["accuracy"])
    data = kt.load_images(run.parents[1] / "colours", image_size=32)
    model = kt.inference_model(kt.load(run))
    found = model.predict(data.splits["test"].gather(np.arange(12))[0].astype("float32"), verbose=0)
    told = [[float(row[f"p_{name}"]) for name in ("blue", "green", "red")] for row in predictions]
    np.testing.assert_allclose(found, told, atol=1e-5)


def test_certificate_and_io(run):
    certificate = read(run / "certificate.json")["float32"]
    assert certificate["passed"] is True
    assert certificate["max_difference"] <= 1e-4
    assert certificate["top1_agreement"] == 1.0
    assert (certificate["split"], certificate["pictures"]) == ("test", 12)
    io = read(run / "io.json")
    assert io["output"]["labels"] == ["blue", "green", "red"]
    assert io["input"]["shape"] == [1, 32, 32, 3]
    assert io["input"]["range"] == [0, 255]
    assert io["input"]["resize"] == "squash"


def test_config_is_resolved_and_reads_back(run):
    from keras_transfer.config import read_config

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["backbone"], config["strategy"], config["seed"]) == ("mobilenet_0.25", "full", 0)
    again = read_config(run / "config.yaml")
    assert again.data == "colours"
    assert again.image_size == 32


def test_freeze_plan_is_the_models(run):
    from keras_transfer.core.freezing import freeze_plan

    assert read(run / "freeze.json") == freeze_plan(kt.load(run))


def test_plain_keras_loads_the_model(run):
    import keras

    x = np.zeros((1, 32, 32, 3), "float32")
    plain = keras.models.load_model(run / "model.keras")
    np.testing.assert_array_equal(plain.predict(x, verbose=0), kt.load(run).predict(x, verbose=0))


def test_report_is_one_file_without_network(run):
    html = (run / "report.html").read_text()
    assert "viewport" in html
    for word in ("http://", "https://", "<script src", "<link "):
        assert word not in html.replace("http://www.w3.org", "")
    assert "data:image/png;base64," in html
