"""The default of the command line on real photos: three stages from local weights, down to the certified file."""

from pathlib import Path

import pytest
import yaml

from keras_transfer.cli.app import run as command


def read(name):
    return yaml.safe_load((Path("run") / name).read_text(encoding="utf-8"))  # JSON is YAML


@pytest.mark.slow
def test_the_default_strategy_from_photos_to_phone(data_root, capsys):
    weights = data_root / "backbones" / "mobilenetv2_0.35_224_notop.weights.h5"
    options = ["--backbone", "mobilenet_v2_0.35", "--weights", str(weights), "--image-size", "96", "--seed", "1"]
    data = str(data_root / "hymenoptera")
    assert (
        command(["fit", data, *options, "--epochs", "2", "--head-epochs", "4", "--views", "2", "--output", "run"]) == 0
    )
    said = capsys.readouterr().out
    assert "up to 4 + 2 + 2 epochs" in said
    assert "Stage 2 of 3, top third" in said
    history = read("history.json")
    assert [stage["name"] for stage in history["stages"]] == ["head", "top third", "all"]
    assert [stage["first_epoch"] for stage in history["stages"]] == [1, 5, 7]
    assert len(history["val_accuracy"]) == 8
    config = read("config.yaml")
    assert (config["strategy"], config["epochs"], config["head_epochs"]) == ("progressive", 2, 4)
    assert config["learning_rate"] == pytest.approx(1e-3)
    metrics = read("metrics.json")
    assert metrics["validation"]["accuracy"] == pytest.approx(
        history["val_accuracy"][history["best_epoch"] - 1], abs=0.01
    )
    assert metrics["validation"]["accuracy"] > 0.75
    assert read("certificate.json")["float32"]["passed"]
