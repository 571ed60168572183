"""The History of a staged training."""

from typing import Any

import keras


class JoinedHistory(keras.callbacks.History):
    """The History of all stages: its epochs and curves go on where the stage before ended."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.stages: list[dict[str, Any]] = []
        self.best_epoch: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        pass  # Keras would empty the list of epochs
