"""An interrupted staged training goes on exactly: weights, optimizer, random states, stage, best value."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core import activations
from keras_transfer.tuning import Stage, fit_stages
from keras_transfer.tuning.checkpoint import Checkpoint

STAGES = [Stage("head", "head", 3, 1e-2), Stage("top", ["head", "top:1"], 3, 1e-3), Stage("all", None, 3, 1e-4)]


def classifier():
    """With Dropout and augmentation, whose random states must go on too."""
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((16, 16, 3))
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(6, 3, name=f"conv{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(keras.layers.BatchNormalization(name=f"bn{block}")(x))
        x = keras.layers.Dropout(0.3, name=f"dropout{block}")(x)
    return build_classifier(keras.Model(pixels, x), 3, augmentation="light", preprocessing="tf", dropout=0.3)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    y = np.arange(36) % 3
    x = random.integers(0, 100, (36, 16, 16, 3)).astype("float32")
    x[np.arange(36), :, :, y] += 100
    return x, y


class Power(keras.callbacks.Callback):
    """Cuts the power at a step of an epoch, or at the end of one after the checkpoint was written."""

    def __init__(self, epoch, step=None):
        super().__init__()
        self.at = (epoch, step)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def train(folder, pictures, resume=False, callbacks=(), stages=STAGES, **settings):
    activations.forget()
    model = classifier()
    keras.utils.set_random_seed(3)
    settings = {"validation_data": pictures, "views": 2, "batch_size": 8, "verbose": 0, **settings}
    history = fit_stages(model, stages, *pictures, checkpoint=folder, resume=resume, callbacks=callbacks, **settings)
    return model, history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, pictures):
    """What every other run is held against, one for each way to keep; and the folder of its checkpoint."""
    return {
        keep: (*train(folder := tmp_path_factory.mktemp(keep), pictures, keep=keep), folder)
        for keep in ("best", "last")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epoch", "keep"),
    [(7, "best"), (1, "best"), (5, "last")],
)
def test_it_goes_on_exactly(tmp_path, pictures, uninterrupted, epoch, keep):
    whole, told, _ = uninterrupted[keep]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", pictures, callbacks=[Power(epoch, 2)], keep=keep)
    resumed, history = train(tmp_path / "cut", pictures, resume=True, keep=keep)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    assert history.epoch == told.epoch
    assert history.best_epoch == told.best_epoch
    assert history.history == told.history
    names = ("name", "first_epoch", "epochs", "trainable")
    assert [[stage[name] for name in names] for stage in history.stages] == [
        [stage[name] for name in names] for stage in told.stages
    ]


@pytest.mark.slow
def test_a_stage_that_was_over_is_not_run_again(tmp_path, pictures, uninterrupted):
    """The power went after the checkpoint of the head's last epoch, before a step of the next stage."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    whole, told, _ = uninterrupted["best"]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, pictures, callbacks=[Stop()])
    resumed, history = train(tmp_path, pictures, resume=True)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history.epoch == told.epoch


@pytest.mark.slow
def test_a_finished_training_resumed_changes_nothing(pictures, uninterrupted):
    whole, told, folder = uninterrupted["best"]
    again, history = train(folder, pictures, resume=True)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history.history == told.history


def test_what_does_not_move_is_stored_once(tmp_path, pictures):
    """Size: the state of a head stage holds the head and its optimizer, not the backbone."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", pictures, callbacks=[Power(2, 1)])
    with np.load(tmp_path / "cut" / "state.npz", allow_pickle=False) as stored:
        stored_values = [name for name in stored.files if name.startswith("v")]
        meta = json.loads(stored["meta"].tobytes())
    assert len(stored_values) <= 4  # kernel, bias, and the states of the head's Dropout and of the augmentation
    assert (meta["stage"], meta["done"]) == (0, 2)
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["start_0.npz", "state.npz"]


def test_what_cannot_go_on_is_refused(tmp_path, pictures):
    with pytest.raises(ValueError, match="state of an interrupted training"):
        train(tmp_path, pictures, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", pictures, callbacks=[Power(1, 2)])
    with pytest.raises(ValueError, match="other stages"):
        train(tmp_path / "cut", pictures, resume=True, stages=STAGES[:2])
    with pytest.raises(ValueError, match="other seed"):
        train(tmp_path / "cut", pictures, resume=True, seed=7)
    hotter = [replace(STAGES[0], learning_rate=1.0), *STAGES[1:]]
    with pytest.raises(ValueError, match="other stages"):
        train(tmp_path / "cut", pictures, resume=True, stages=hotter)
    x, y = pictures
    with pytest.raises(ValueError, match="other data"):
        train(tmp_path / "cut", (x + 1, y), resume=True)
    model = build_classifier(keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3)]), 3)
    settings = {"validation_data": pictures, "views": 2, "batch_size": 8, "verbose": 0}
    with pytest.raises(ValueError, match="another model"):
        fit_stages(model, STAGES, *pictures, checkpoint=tmp_path / "cut", resume=True, **settings)
    (tmp_path / "cut" / "state.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="state of an interrupted training"):
        train(tmp_path / "cut", pictures, resume=True)


def test_a_state_is_whole_or_not_there(tmp_path, pictures, monkeypatch):
    """The disk fills up while the state is written: the one before is still there."""
    model = classifier()
    model.compile("sgd")
    checkpoint = Checkpoint(tmp_path)
    checkpoint.start_stage(model, {"stage": 0, "done": 0})

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(model, None, {"stage": 0, "done": 1}, None)
    assert checkpoint.read()["done"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["start_0.npz", "state.npz"]
