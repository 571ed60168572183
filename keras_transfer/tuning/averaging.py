"""The mean of the weights along the training in place of the last ones: SWA by epoch, an exponential average by step."""

import math
import warnings
from typing import Any

import keras
from keras import ops

from ..core.batch_norm import reestimate, training_batch_norms
from ..core.numbers import count, number


class WeightAveraging(keras.callbacks.Callback):
    """Average the weights that train, from `start_epoch` (from 0) on, and put the average in when the training ends.

    SWA: Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization (arXiv:1803.05407).
    After every `every`-th epoch, n of them: `average = (w_1 + ... + w_n) / n`. With `learning_rate` r the rate is r from
    `start_epoch` on, or nears it over `anneal_epochs` epochs by a cosine: in the k-th of them (from 1), with a = anneal_epochs
    + 1 and r_0 the rate before, it is `r + (r_0 - r) (1 + cos(pi min(k / a, 1))) / 2`.

    EMA: Polyak & Juditsky 1992; Tarvainen & Valpola 2017, Mean teachers (arXiv:1703.01780). With `ema` d, after each step n:
    `average <- average + (w - average) max(1 / n, 1 - d)`, the plain mean until there is more to average than d spans.

    Validation and other callbacks see the raw weights while it runs. At the end the average goes in, and the statistics of
    the BatchNorm layers that train are computed anew over `data` (see `core.batch_norm.reestimate`; `batch_size` is for
    arrays); frozen BatchNorm needs none. A layer that starts to train later counts with its value from before. The rate and
    the optimizer's state are left as they are. A training that ends before there is anything to average keeps its weights
    and warns. What puts weights in when the training ends (`EarlyStopping(restore_best_weights=True)`) must come before
    this callback in the list. `keras.callbacks.SwapEMAWeights` needs an optimizer with `use_ema=True`, which starts at step
    one and is made anew in every stage; SWA it has not.

    Raises `ValueError` for settings that are wrong or meet no epoch, for a rate that a schedule sets, and for BatchNorm that
    trains without `data`.

    Example:
        average = kt.tuning.WeightAveraging(start_epoch=15, learning_rate=1e-4, data=train)
        model.fit(train, epochs=20, callbacks=[average])
    """

    def __init__(
        self,
        start_epoch: int,
        *,
        learning_rate: float | None = None,
        anneal_epochs: int = 0,
        ema: float | None = None,
        every: int = 1,
        data: Any = None,
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        self.start_epoch = count("start_epoch", start_epoch, least=0)
        self.anneal_epochs, self.every = count("anneal_epochs", anneal_epochs, least=0), count("every", every)
        self.learning_rate = None if learning_rate is None else number("learning_rate", learning_rate, above=0.0)
        self.ema = None if ema is None else number("ema", ema, above=0.0, below=1.0)
        if anneal_epochs and learning_rate is None:
            raise ValueError(
                f"`anneal_epochs` needs the `learning_rate` to come to. Received: {anneal_epochs!r} without one"
            )
        if ema is not None and every != 1:
            raise ValueError(f"`every` counts epochs of SWA; an `ema` averages every step. Received: every={every!r}")
        self.data, self.batch_size = data, batch_size
        self.async_safe = ema is None  # then nothing is done after a batch
        self.count = 0
        self._averages: dict[int, tuple[keras.Variable, Any]] = {}
        self._rate: float | None = None
        self._active = self._followed = False
        self._step = -1

    def on_train_begin(self, logs: Any = None) -> None:
        self.count, self._averages, self._rate, self._active = 0, {}, None, False
        epochs = self.params.get("epochs")
        last = self.start_epoch + (1 if self.ema is not None else self.every)
        if epochs is not None and last > epochs:
            raise ValueError(
                f"Averaging must begin before the training ends; choose a smaller `start_epoch` or more epochs. "
                f"Received: start_epoch={self.start_epoch} and every={self.every} in {epochs} epochs"
            )
        if self.learning_rate is not None:
            self._settable()
        self._need_data()
        if self.ema is not None and hasattr(self.model, "jax_state_sync") and self.model.train_function is None:
            raise ValueError(
                "On JAX the weights after each step are there in the model's own `fit` alone; average by epoch (ema=None). "
                f"Received: ema={self.ema}"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._need_data()
        self._active, self._followed, self._step = epoch >= self.start_epoch, False, -1
        if self._active and self.learning_rate is not None:
            if self._rate is None:
                self._rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            share = min((epoch - self.start_epoch + 1) / (self.anneal_epochs + 1), 1.0)
            above = (self._rate - self.learning_rate) * (1 + math.cos(math.pi * share)) / 2
            self.model.optimizer.learning_rate = self.learning_rate + above

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._active and not self._followed:
            # Every callback has had its `on_epoch_begin`, and no weight has moved yet.
            self._followed = True
            for variable in self.model.trainable_variables:
                if id(variable) not in self._averages:
                    self._averages[id(variable)] = variable, _copy(variable)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._active and self.ema is not None:
            steps, self._step = batch - self._step, batch  # several at once with `steps_per_execution`
            self.count += steps
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self._take(max(steps / self.count, 1 - self.ema**steps))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._active and self.ema is None and (epoch - self.start_epoch + 1) % self.every == 0:
            self.count += 1
            self._take(1 / self.count)

    def on_train_end(self, logs: Any = None) -> None:
        if not self.count:
            warnings.warn(
                f"The training ended before there was anything to average (from epoch {self.start_epoch} on); the model keeps "
                "its last weights.",
                stacklevel=2,
            )
            return
        for variable, average in self._averages.values():
            variable.assign(average)
        self._averages = {}
        if training_batch_norms(self.model):
            reestimate(self.model, self.data, batch_size=self.batch_size)

    def _take(self, share: float) -> None:
        """Move every average towards the weight as it is now, by a share of the way."""
        for key, (variable, average) in self._averages.items():
            now = _copy(variable)
            self._averages[key] = variable, now if share == 1 else average + (now - average) * share

    def _need_data(self) -> None:
        norms = training_batch_norms(self.model) if self.data is None else []
        if norms:
            raise ValueError(
                "Averaged weights need new BatchNorm statistics: pass the training data as `data`, or freeze BatchNorm. "
                f"Received: data=None, and {norms[0].name!r} trains"
            )

    def _settable(self) -> None:
        optimizer = self.model.optimizer
        try:
            optimizer.learning_rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        except (TypeError, AttributeError) as error:
            raise ValueError(
                "`learning_rate` needs an optimizer whose rate is one number; leave it out where a schedule sets the rate. "
                f"Received: {self.learning_rate!r} for {type(optimizer).__name__}"
            ) from error


def _copy(variable: keras.Variable) -> Any:
    """The value in float32 as a tensor of its own: on JAX a step reuses the memory of the weights."""
    return ops.copy(ops.cast(variable, "float32"))
