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
from keras_transfer.config import make_config, read_config, write_config
from keras_transfer.pipeline.choices import unused
from keras_transfer.pipeline.folder import RunFailed, run_folder
from keras_transfer.pipeline.partial import BEST, CHECKPOINT, STATE, WRITER
from keras_transfer.pipeline.resuming import dropped, leaving_the_best, telling_how_to_go_on
from keras_transfer.pipeline.training import as_run
from keras_transfer.tuning.keeper import Keeper
from keras_transfer.tuning.stage import Stage
from keras_transfer.tuning.stages import fit_stages


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


class At(keras.callbacks.Callback):
    """Do something at the start of an epoch."""

    def __init__(self, epoch, act):
        super().__init__()
        self.epoch, self.act = epoch, act

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.act(self.model)


def press(model):
    raise KeyboardInterrupt


def spoil(model):
    model.layers[-1].bias.assign([np.nan, np.nan])


def train(epoch, act):
    """Two stages on a tiny network into the run folder `out`, with something that happens in an epoch."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    stages = [Stage("first", None, 1, 1e-2), Stage("second", None, 2, 1e-3)]
    with telling_how_to_go_on("out"), run_folder("out") as folder, leaving_the_best(model, folder):
        callbacks = [At(epoch, act)]
        fit_stages(model, stages, x, np.arange(8) % 2, checkpoint=folder / CHECKPOINT, callbacks=callbacks, verbose=0)


def test_ctrl_c_in_a_later_epoch_leaves_the_best_and_says_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt):
        train(2, press)
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("Interrupted in stage 'second'")
    best = Path(".out.partial").absolute() / BEST
    assert said[1:] == [f"Its best weights are in {best}.", "The same command with --resume goes on."]
    assert keras.models.load_model(best).count_params() == 6
    assert Path(".out.partial", STATE).is_file()
    assert not Path(".out.partial", WRITER).exists()
    assert dropped("out").startswith("Starting anew: the interrupted run in ")


def test_ctrl_c_before_the_first_epoch_leaves_nothing_or_what_was_there(capsys):
    with pytest.raises(KeyboardInterrupt):
        train(0, press)
    assert os.listdir() == []
    assert "--resume" not in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        train(2, press)
    before = Path(".out.partial", STATE).read_bytes()
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        train(0, press)
    assert "is as it was" in capsys.readouterr().err
    assert Path(".out.partial", STATE).read_bytes() == before


def test_divergence_is_told_with_the_best_weights(capsys):
    with pytest.raises(RunFailed) as failed:
        train(2, spoil)
    best = Path(".out.partial").absolute() / BEST
    assert str(failed.value) == (
        "The training diverged: the loss is no number in epoch 3 (stage 'second'); choose a lower --learning-rate. "
        f"The best weights so far, of epoch 2, are in {best}."
    )
    assert all(np.isfinite(value).all() for value in keras.models.load_model(best).get_weights())
    assert not Path(".out.partial", STATE).exists()
    assert "--resume" not in capsys.readouterr().err
    assert dropped("out") == f"Starting anew: the best weights of a training that diverged, {best}, will be dropped."


def test_divergence_in_the_first_epoch_leaves_nothing():
    with pytest.raises(RunFailed, match=r"in epoch 1 \(stage 'first'\); choose a lower --learning-rate\.$"):
        train(0, spoil)
    assert os.listdir() == []


def test_the_settings_that_are_written_ask_for_no_old_run(tmp_path):
    config = make_config(
        {"data": "p", "weights": "none", "output": "out", "image_size": 32, "resume": True, "overwrite": True}
    )
    write_config(tmp_path / "config.yaml", as_run(config, Path("out"), 1e-3), {})
    again = read_config(tmp_path / "config.yaml", {"output": "again"})
    assert (again.resume, again.overwrite, again.output, again.image_size) == (False, False, "again", 32)


def test_head_epochs_that_no_stage_takes_are_told():
    told = unused(make_config({"data": "p", "weights": "none", "head_epochs": 3}))
    assert told == "Note: the strategy full does not use --head-epochs."
    assert unused(make_config({"data": "p", "weights": "none"})) is None
    assert unused(make_config({"data": "p", "head_epochs": 3})) is None


@pytest.mark.slow
def test_ctrl_c_in_the_evaluation_says_how_to_go_on(colours, small, monkeypatch, capsys):
    options = ["fit", "p", *small, "--quiet", "--output", "out"]
    with monkeypatch.context() as patch:
        patch.setattr("keras_transfer.pipeline.writing._report", lambda *args: press(None))
        assert command(options) == 130
    assert "The same command with --resume goes on." in capsys.readouterr().err
    assert (colours / ".out.partial" / "model.keras").is_file()
    assert command(options) == 2
    assert "holds a trained model" in capsys.readouterr().err
    assert (colours / ".out.partial" / STATE).is_file()


@pytest.mark.slow
def test_ctrl_c_then_resume_is_the_uninterrupted_run(colours, options, monkeypatch, capsys):
    assert command(["fit", *options, "--quiet"]) == 0
    (colours / "out").rename(colours / "whole")
    again = interrupt(monkeypatch, 2)
    assert command(["fit", *options, "--quiet"]) == 130
    again()
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("Interrupted in stage")
    assert "best.keras" in said[1]
    assert "--resume goes on" in said[2]
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
    assert command(["fit", "--config", "out/config.yaml", "--output", "again", "--quiet"]) == 0


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


@pytest.mark.slow
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
    assert command(["fit", *options, "--quiet", "--weights", "nowhere.h5"]) == 2
    assert "Received: 'nowhere.h5'" in capsys.readouterr().err  # before anything is touched
    assert (colours / ".out.partial" / "checkpoint" / "state.npz").is_file()


@pytest.mark.slow
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


def epochs_of(state):
    """How many epochs a checkpoint holds; none where it is not there yet."""
    return json.loads(np.load(state, allow_pickle=False)["meta"].tobytes())["done"] if state.is_file() else 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX word")
def test_a_killed_process_goes_on(colours, options):
    """SIGKILL in the middle of a training, in a process of its own."""
    script = [sys.executable, "-c", "from keras_transfer.cli.app import main; main()", "fit", *options, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = [*script, "--epochs", "60"]
    state = colours / ".out.partial" / "checkpoint" / "state.npz"
    running = subprocess.Popen(options, env=environment, cwd=colours)
    deadline = time.monotonic() + 120
    while epochs_of(state) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < epochs_of(state) < 60
    subprocess.run([*options, "--resume"], env=environment, cwd=colours, check=True, timeout=280)
    assert json.loads((colours / "out" / "history.json").read_text())["epoch"] == list(range(1, 61))
