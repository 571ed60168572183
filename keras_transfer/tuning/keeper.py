"""What is kept of a training: the best epoch over all its stages, or the last; never one whose loss is no number."""

import math
from typing import Any

import keras
import numpy as np


class Keeper(keras.callbacks.Callback):
    """Keep the weights of the best epoch (or of the last), end a stage that stays below it, stop at a loss that is no number.

    The best has the highest validation accuracy, of equal ones the lowest validation loss (small sets give many equal
    ones); without an accuracy among the metrics the lowest validation loss alone. The best value is kept from stage to
    stage; the patience starts anew in each.
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

    def new_stage(self) -> None:
        """Have patience again."""
        self.wait, self.stopped_epoch = 0, None

    def on_train_begin(self, logs: Any = None) -> None:
        if self.weights is None:
            self.weights = self.model.get_weights()  # for a training that fails in its first epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and self.diverged is None and not math.isfinite(logs.get("loss", 0.0)):
            self.diverged = self._epoch
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        weights = self.model.get_weights()
        if self.diverged is None and not _finite(logs or {}, weights):
            self.diverged, self.model.stop_training = epoch, True
        if self.diverged is not None:
            return
        now = self._value(logs or {}) if self.keep == "best" else None
        if now is None:
            if self.best_epoch is None:
                self.kept_epoch, self.weights = epoch, weights
        elif self.reached is None or now > self.reached:
            self.reached, self.best_epoch, self.wait = now, epoch, 0
            self.kept_epoch, self.weights = epoch, weights
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True

    def restore(self, broken: bool = False) -> None:
        """Put the best epoch's weights back; where none was best, and the training `broken`, those of the last good epoch."""
        if self.weights is not None and (self.best_epoch is not None or broken):
            self.model.set_weights(self.weights)

    @staticmethod
    def _value(logs: dict[str, float]) -> tuple[float, ...] | None:
        """What decides, greater is better; None in an epoch without validation."""
        if "val_loss" not in logs:
            return None
        loss = -logs["val_loss"]
        return (logs["val_accuracy"], loss) if "val_accuracy" in logs else (loss,)


def _finite(logs: dict[str, float], weights: list[np.ndarray]) -> bool:
    """Whether losses and weights are numbers: the last step of an epoch can spoil the weights behind a finite loss."""
    losses = all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss"))
    return losses and all(np.isfinite(value).all() for value in weights)
