"""A run that is killed, interrupted or diverges: what it leaves, and that --resume goes on to the same model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_transfer.cli.app import run as command
from keras_transfer.tuning.keeper import Keeper


@pytest.fixture
def options(small):
    return ["p", *small, "--epochs", "3", "--keep", "last", "--output", "out"]


@pytest.fixture
def colours(photos, tmp_path):
    photos(tmp_path / "p", {"red": 8, "blue": 8})
    return tmp_path


def weights(run):
    return keras.models.load_model(Path(run) / "model.keras").get_weights()


def interrupt(monkeypatch, epoch):
    """Ctrl-C in the first batch of an epoch."""
    real = Keeper.on_train_batch_end

    def pressed(self, batch, logs=None):
        if self._epoch == epoch:
            raise KeyboardInterrupt
        real(self, batch, logs)

    monkeypatch.setattr(Keeper, "on_train_batch_end", pressed)
    return lambda: monkeypatch.setattr(Keeper, "on_train_batch_end", real)


@pytest.mark.slow
def test_ctrl_c_then_resume_is_the_uninterrupted_run(colours, options, monkeypatch, capsys):
    assert command(["fit", *options, "--quiet"]) == 0
    (colours / "out").rename(colours / "whole")
    again = interrupt(monkeypatch, 2)
    assert command(["fit", *options, "--quiet"]) == 130
    again()
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("Interrupted in stage")
    assert "--resume goes on" in said[1]
    assert not (colours / "out").exists()
    left = colours / ".out.partial"
    assert sorted(path.name for path in left.iterdir()) == ["best.keras", "checkpoint"]
    keras.models.load_model(left / "best.keras")
    assert command(["fit", *options, "--quiet", "--resume"]) == 0
    assert not left.exists()
    assert {path.name for path in (colours / "out").iterdir()} == {path.name for path in (colours / "whole").iterdir()}
    for one, other in zip(weights("whole"), weights("out"), strict=True):
        np.testing.assert_array_equal(one, other)
    told = [json.loads((colours / run / "history.json").read_text()) for run in ("whole", "out")]
    assert told[0]["loss"] == told[1]["loss"]
    assert told[1]["epoch"] == [1, 2, 3]


@pytest.mark.slow
def test_without_resume_it_starts_anew_and_says_so(colours, options, monkeypatch, capsys):
    again = interrupt(monkeypatch, 1)
    assert command(["fit", *options]) == 130
    again()
    capsys.readouterr()
    assert command(["fit", *options]) == 0
    assert "Starting anew" in capsys.readouterr().out
    assert json.loads((colours / "out" / "history.json").read_text())["epoch"] == [1, 2, 3]
    assert sorted(os.listdir(colours)) == ["out", "p"]


def test_what_cannot_go_on_is_refused_and_left_as_it_is(colours, options, monkeypatch, capsys):
    assert command(["fit", *options, "--resume"]) == 2
    assert "an interrupted run to go on with" in capsys.readouterr().err
    again = interrupt(monkeypatch, 1)
    assert command(["fit", *options, "--quiet"]) == 130
    again()
    assert command(["fit", *options, "--quiet", "--resume", "--batch-size", "4"]) == 2
    assert "`batch_size` must be 32" in capsys.readouterr().err
    os.remove(colours / "p" / "red" / "0.png")
    assert command(["fit", *options, "--quiet", "--resume"]) == 2
    assert "other data" in capsys.readouterr().err
    assert (colours / ".out.partial" / "checkpoint" / "state.npz").is_file()


def test_a_training_that_diverges_late_leaves_its_best_weights(colours, options, monkeypatch, capsys):
    real = Keeper.on_epoch_begin

    def spoil(self, epoch, logs=None):
        real(self, epoch, logs)
        if epoch == 1:
            self.model.get_layer("head").get_layer("logits").bias.assign([np.nan, np.nan])

    monkeypatch.setattr(Keeper, "on_epoch_begin", spoil)
    assert command(["fit", *options, "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "diverged" in said
    assert "best.keras" in said
    left = keras.models.load_model(colours / ".out.partial" / "best.keras")
    assert all(np.isfinite(value).all() for value in left.get_weights())
    assert command(["fit", *options, "--quiet", "--resume"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX word")
def test_a_killed_process_goes_on(colours, options):
    """SIGKILL in the middle of a training, in a process of its own."""
    script = [sys.executable, "-c", "from keras_transfer.cli.app import main; main()", "fit", *options, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = [*script, "--epochs", "400"]
    state = colours / ".out.partial" / "checkpoint" / "state.npz"
    running = subprocess.Popen(options, env=environment, cwd=colours)
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert state.is_file()
    before = json.loads(np.load(state, allow_pickle=False)["meta"].tobytes())["done"]
    assert 0 < before < 400
    subprocess.run([*options, "--resume"], env=environment, cwd=colours, check=True, timeout=280)
    assert json.loads((colours / "out" / "history.json").read_text())["epoch"] == list(range(1, 401))
