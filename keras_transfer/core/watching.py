"""Callbacks see the whole model and one training, whatever part of it is fitted, in however many calls."""

from collections.abc import Callable
from typing import Any

import keras


class WholeModelCallbacks(keras.callbacks.CallbackList):
    """Callbacks that see the whole model while a part of it is fitted, and stop that part when they stop the whole."""

    def __init__(self, part: keras.Model, **kwargs: Any) -> None:
        self._part = part
        super().__init__(**kwargs)

    def _pass_on(self) -> None:
        self._part.stop_training = self._part.stop_training or self._whole.stop_training

    def set_model(self, model: keras.Model) -> None:
        self._whole = model
        model.stop_training = False
        super().set_model(model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        self._pass_on()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self._pass_on()


# What judges the epochs since a rate was set is asked anew in every stage; all others see one training.
PER_STAGE = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.ProgbarLogger,
)


class StageCallbacks(WholeModelCallbacks):
    """The callbacks of one stage of several: they begin in the first, end in the last, and see one training.

    An `EarlyStopping` ends the stage, not the training: it starts every stage with new patience, and with the best
    value and weights of the stages before; one of our own says so by its `stopped_epoch`, as `EarlyStopping` does. Any
    other callback that stops the training stops all of it (`stopped`). `before_end` is called when a stage has ended,
    before any callback hears of it.
    """

    callbacks: list[keras.callbacks.Callback]

    def __init__(
        self, part: keras.Model, *, first: bool, last: bool, before_end: Callable[[], None], **kwargs: Any
    ) -> None:
        self._first, self._last, self._before_end = first, last, before_end
        self.stopped = False
        super().__init__(part, **kwargs)

    def _only(self, method: str, once: bool, logs: Any) -> None:
        """Call `on_train_begin` or `on_train_end` of those callbacks whose turn it is."""
        every: list[keras.callbacks.Callback] = list(self.callbacks)
        self.callbacks = [one for one in every if once or isinstance(one, PER_STAGE)]
        try:
            getattr(super(), method)(logs)
        finally:
            self.callbacks = every

    def on_train_begin(self, logs: Any = None) -> None:
        stoppers = [one for one in self.callbacks if isinstance(one, keras.callbacks.EarlyStopping)]
        reached = [(one, one.best, one.best_weights, one.best_epoch) for one in stoppers if not self._first]
        self._only("on_train_begin", self._first, logs)
        for one in stoppers:
            one.stopped_epoch = -1  # Keras has 0, which is an epoch too
        for one, best, weights, epoch in reached:
            one.best, one.best_weights, one.best_epoch = best, weights, epoch

    def on_train_end(self, logs: Any = None) -> None:
        self._before_end()
        self._only("on_train_end", self._last or self.stopped, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self._whole.stop_training and not any(
            getattr(one, "stopped_epoch", None) == epoch for one in self.callbacks
        ):
            self.stopped = True
