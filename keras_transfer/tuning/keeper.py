"""What is kept of a training: the best epoch over all its stages, or the last; never one whose loss is no number."""

import math
from typing import Any

import keras
import numpy as np

from ..core.freezing import frozen_variables


class DivergedError(FloatingPointError):
    """The loss is no number: in which epoch (from 1) of which stage, and which epoch's weights the model has now."""

    def __init__(self, epoch: int, stage: str, kept_epoch: int | None, left: str) -> None:
        super().__init__(
            f"The loss is no number in epoch {epoch} (stage {stage!r}); choose a lower learning rate; {left}"
        )
        self.epoch, self.stage = epoch, stage
        self.kept_epoch = None if kept_epoch is None else kept_epoch + 1


class Keeper(keras.callbacks.Callback):
    """Keep the weights of the best epoch (or of the last), end a stage that stays below it, stop at a loss that is no number.

    The best has the highest validation accuracy, of equal ones the lowest validation loss (small sets give many equal
    ones); without an accuracy among the metrics (`accuracy`, else one whose name ends so) the lowest validation loss
    alone. The best value is kept from stage to stage; the patience starts anew in each.
    """

    async_safe = True  # a batch's loss may be looked at a little later

    def __init__(self, keep: str = "best", patience: int = 5) -> None:
        super().__init__()
        self.keep, self.patience = keep, patience
        self.reached: tuple[float, ...] | None = None
        self.best_epoch: int | None = None
        self.kept_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None
        self.wait = 0
        self.stopped_epoch: int | None = None
        self.diverged: int | None = None
        self._epoch = 0
        self._still: set[int] = set()
        self._start: list[np.ndarray] = []

    def begin_stage(self, resumed: bool = False) -> None:
        """Look at what can move from here on, and have patience again; a stage that goes on has what is left of it."""
        self._still, self._start = frozen_variables(self.model), self.model.get_weights()
        if self.weights is None:
            self.weights = self._start  # for a training that fails in its first epoch
        if not resumed:
            self.wait, self.stopped_epoch = 0, None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and self.diverged is None and not math.isfinite(logs.get("loss", 0.0)):
            self.diverged = self._epoch
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.diverged is None and not self._finite(logs or {}):
            self.diverged, self.model.stop_training = epoch, True
        if self.diverged is not None:
            return
        now = self._value(logs or {}) if self.keep == "best" else None
        if now is None:
            if self.best_epoch is None:
                self.keep_now(epoch)
        elif self.reached is None or now > self.reached:
            self.reached, self.best_epoch, self.wait = now, epoch, 0
            self.keep_now(epoch)
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True

    def keep_now(self, epoch: int | None) -> None:
        """Keep the weights as they are now, those that cannot move as they were when the stage began."""
        self.kept_epoch = epoch
        pairs = zip(self.model.weights, self._start, strict=True)
        self.weights = [old if id(one) in self._still else np.array(one.numpy()) for one, old in pairs]

    @property
    def in_place(self) -> bool:
        """Whether the model holds the kept weights."""
        return all(map(np.array_equal, self.model.get_weights(), self.weights or []))

    @property
    def left(self) -> str:
        """What a training that breaks leaves in the model, for the end of a sentence."""
        if self.kept_epoch is None:
            return "the model is as it was."
        which = "the best" if self.best_epoch is not None else "the last whole one"
        return f"the model holds the weights of epoch {self.kept_epoch + 1}, {which}."

    def restore(self, broken: bool = False) -> None:
        """Put the best epoch's weights back; where none was best, and the training `broken`, those of the last good epoch."""
        if self.weights is not None and (self.best_epoch is not None or broken):
            self.model.set_weights(self.weights)

    def _finite(self, logs: dict[str, float]) -> bool:
        """Whether losses and weights are numbers: the last step of an epoch can spoil the weights behind a finite loss."""
        losses = all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss"))
        return losses and all(np.isfinite(one.numpy()).all() for one in self.model.trainable_weights)

    @staticmethod
    def _value(logs: dict[str, float]) -> tuple[float, ...] | None:
        """What decides, greater is better; None in an epoch without validation."""
        if "val_loss" not in logs:
            return None
        names = [name for name in logs if name.startswith("val_") and name.endswith(("accuracy", "_acc"))]
        name = "val_accuracy" if "val_accuracy" in names else next(iter(names), None)
        return (logs[name], -logs["val_loss"]) if name else (-logs["val_loss"],)
