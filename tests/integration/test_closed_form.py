"""Strategies that are solved exactly, by their names on the command line: found, weighed, and loaded without a word."""

import os
import subprocess
import sys
import warnings

import pytest

from keras_transfer.cli.app import run as command
from keras_transfer.config import STAGES, make_config
from keras_transfer.pipeline.choices import learned_nothing, unused


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, which stands for pretrained ones."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    model = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)
    model.save_weights(path)
    return path


@pytest.mark.slow
def test_every_strategy_of_the_config_is_found_in_a_fresh_process():
    code = (
        "from keras_transfer.config import STAGES\n"
        "from keras_transfer.pipeline.named import strategy_of\n"
        "print(*[strategy_of(name) is not None for name in STAGES])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert found.stdout.split() == ["True"] * len(STAGES), found.stderr


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["nearest_mean", "linear_probe"])
def test_a_run_is_made_and_loads_without_a_warning(photos, tmp_path, weights, strategy):
    import keras_transfer as kt

    photos(tmp_path / "colours", {"red": 6, "green": 6})
    size = ["--backbone", "mobilenet_0.25", "--image-size", "32", "--weights", str(weights)]
    asked = ["--strategy", strategy, "--class-weights", "balanced", "--quiet", "--output", "run"]
    assert command(["fit", "colours", *size, *asked]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kt.load("run")
    assert {one.path.split("/")[-1] for one in model.trainable_variables} == {"kernel", "bias"}
    assert "Solved exactly" in (tmp_path / "run" / "report.html").read_text()


def test_what_a_closed_form_does_not_use_is_told():
    def note(strategy, **given):
        return unused(make_config({"data": "p", "strategy": strategy, **given}))

    assert note("linear_probe", class_weights="balanced") is None
    assert note("nearest_mean", class_weights="balanced").endswith("nearest_mean does not use --class-weights.")
    assert note("linear_probe", loss="focal", mix="mixup", epochs=3).endswith("does not use --epochs, --mix, --loss.")


@pytest.mark.parametrize(
    ("given", "help_"),
    [
        ({"weights": "none", "strategy": "full"}, "Give it pretrained weights."),
        ({"strategy": "full"}, "Give it more --epochs or another --learning-rate."),
        ({"strategy": "linear_probe"}, "Try another --strategy or --backbone."),
    ],
)
def test_what_may_help_where_nothing_was_learned(given, help_):
    told = learned_nothing(make_config({"data": "p", **given}), "test")
    assert told == f"Note: every test picture got the same class; the model has learned nothing that helps. {help_}"


def test_balanced_weights_reach_the_probe(tmp_path):
    from keras_transfer.pipeline.training import _settings

    settings = {"data": "p", "class_weights": "balanced"}
    assert _settings(make_config({**settings, "strategy": "linear_probe"}), tmp_path)["class_weight"] == "balanced"
    assert "class_weight" not in _settings(make_config({**settings, "strategy": "nearest_mean"}), tmp_path)
    assert _settings(make_config({**settings, "strategy": "partial"}), tmp_path)["class_weight"] == "balanced"


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_four_channels_go_all_the_way(photos, tmp_path, weights, channels):
    """Pretrained colour weights take them: fit, certificate, predict and report."""
    import json

    photos(tmp_path / "colours", {"red": 6, "green": 6})
    size = ["--backbone", "mobilenet_0.25", "--image-size", "32", "--weights", str(weights)]
    asked = ["--strategy", "nearest_mean", "--channels", str(channels), "--quiet", "--output", "run"]
    assert command(["fit", "colours", *size, *asked]) == 0
    assert json.loads((tmp_path / "run" / "io.json").read_text())["input"]["channels"] == channels
    assert command(["predict", "run", "colours/red"]) == 0
    assert command(["report", "run"]) == 0
