"""Unfreeze layers in the course of a user's own `fit`, without losing the optimizer."""

import math
from numbers import Integral
from typing import Any

import keras

from ..core.freezing import owners, unfreeze
from ..core.numbers import number
from ..core.selection import Where, named_layers, select
from ..core.surgery import own_trainable_variables
from ..core.training import cover, refuse_impossible, retrace, runs


class ProgressiveUnfreezing(keras.callbacks.Callback):
    """Unfreeze layers at chosen epochs of a running `fit`; the optimizer, with moments and iterations, goes on.

    Howard & Ruder 2018, Universal Language Model Fine-tuning (arXiv:1801.06146), gradual unfreezing. With G_e the layers
    that are open at epoch e, `theta_i <- theta_i - update(g_i)` for i in G_e, and `theta_i` stays, bit for bit, for all
    others: no gradient, decay or moving average, no moments, no part in a clipping norm.

    plan: `{epoch: where}`, epochs from 0 as in every callback, `where` as in `kt.select` (None: everything); it takes
    effect at the beginning of that epoch. learning_rate: `{epoch: rate}`, for an optimizer with one plain rate.
    batch_norm: `"freeze"` leaves a frozen BatchNorm in inference mode, `"train"` lets those in `where` train. A `fit`
    that is resumed (`initial_epoch`) starts with all that the plan did before. Put this callback before
    `BackupAndRestore`, whose file holds the optimizer; from a `.keras` file Keras reads the optimizer only where the plan
    had come to its end.

    An Adam whose count is high gives a variable without moments up to (1 - beta_1) / sqrt(1 - beta_2) = 3.2 times the
    rate at its first step: lower the rate with `learning_rate`, or that of the block with `kt.layerwise`. For a fit that
    runs the frozen part only once use `kt.tuning.fit_stages`; this callback is for a model's own `fit`.

    Example:
        kt.freeze(model)
        kt.unfreeze(model, "head")
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        unfreezing = kt.tuning.ProgressiveUnfreezing({3: "top:2", 6: "backbone"}, learning_rate={3: 1e-4, 6: 1e-5})
        model.fit(x, y, epochs=9, callbacks=[unfreezing])
    """

    def __init__(
        self, plan: dict[int, Where], learning_rate: dict[int, float] | None = None, batch_norm: str = "freeze"
    ) -> None:
        super().__init__()
        if batch_norm not in ("freeze", "train"):
            raise ValueError(f"`batch_norm` must be 'freeze' or 'train'. Received: {batch_norm!r}")
        self.plan, self.learning_rate, self.batch_norm = plan, learning_rate or {}, batch_norm
        _check_epochs("plan", plan, "{3: 'top:2'}")
        _check_epochs("learning_rate", self.learning_rate, "{3: 1e-4}")
        if not plan:
            raise ValueError("`plan` must name at least one epoch, for example {3: 'top:2'}. Received: {}")
        for rate in self.learning_rate.values():
            number("learning_rate", rate, above=0.0)

    def on_train_begin(self, logs: Any = None) -> None:
        if not runs(self.model):
            raise ValueError(
                "ProgressiveUnfreezing works in a model's own `fit`; here a part of the model is fitted: use "
                f"kt.tuning.fit_stages, a Stage for each epoch of the plan. Received: model {self.model.name!r}"
            )
        refuse_impossible(self.model)
        self._check_fit()
        self._done = -1  # the last epoch that has begun
        self._first = True
        self._opens = {epoch: self._variables(epoch) for epoch in self.plan}
        wanted = {id(one) for some in (self.model.trainable_variables, *self._opens.values()) for one in some}
        # In the model's own order, so that a file written when all of them train is read back in that order.
        cover(self.model, [one for one in self.model.variables if id(one) in wanted])
        retrace(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._first:
            self._check_frozen(epoch)
            self._first = False
        due = [one for one in sorted({*self.plan, *self.learning_rate}) if self._done < one <= epoch]
        self._done = epoch
        before = len(self.model.trainable_variables)
        for one in due:
            if one in self.learning_rate:
                self.model.optimizer.learning_rate = float(self.learning_rate[one])
            if one in self.plan:
                self._open(one)
        if len(self.model.trainable_variables) != before:
            retrace(self.model)

    def _open(self, epoch: int) -> None:
        may = {id(one) for some in (self.model.trainable_variables, self._opens[epoch]) for one in some}
        unfreeze(self.model, self.plan[epoch], batch_norm=self.batch_norm)
        for variable in self.model.trainable_variables:
            if id(variable) not in may:  # frozen by itself, inside a layer that trains: a kernel under LoRA
                variable.trainable = False

    def _variables(self, epoch: int) -> list[keras.Variable]:
        """What the plan lets train at this epoch."""
        where = self.plan[epoch]
        named = named_layers(self.model) if where is None else select(self.model, where)
        held = (keras.layers.BatchNormalization,) if self.batch_norm == "freeze" else ()
        found = [one for _, layer in named if not isinstance(layer, held) for one in own_trainable_variables(layer)]
        if not found:
            raise ValueError(
                "Each `where` of the plan must name a layer that can train (a BatchNorm only with batch_norm='train'). "
                f"Received: {where!r} at epoch {epoch}"
            )
        return found

    def _check_frozen(self, epoch: int) -> None:
        """A plan with something left to do is for a model of which something is frozen; else it would do nothing, silently."""
        if max(self.plan) >= epoch and all(layer.trainable for _, layer in owners(self.model)):
            raise ValueError(
                "The plan must find something frozen to unfreeze: before `compile`, kt.freeze(model) and then "
                f"kt.unfreeze(model, 'head'). Received: model {self.model.name!r}, in which everything trains"
            )

    def _check_fit(self) -> None:
        """Whether this `fit` can do what the plan says: it is long enough, and its rate can be set."""
        epochs = self.params.get("epochs", math.inf)
        late = max([*self.plan, *self.learning_rate])
        if late >= epochs:
            raise ValueError(
                f"The plan must end within the fit, whose epochs are 0 to {epochs - 1}; give it more epochs. "
                f"Received: epoch {late}"
            )
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if self.learning_rate and not isinstance(rate, keras.Variable):
            raise ValueError(
                "`learning_rate` by epoch needs an optimizer with one plain rate, such as Adam(1e-3): a schedule sets its own. "
                f"Received: learning_rate={self.learning_rate} with {type(self.model.optimizer).__name__}"
            )


def _check_epochs(name: str, given: Any, example: str) -> None:
    if not isinstance(given, dict):
        raise TypeError(f"`{name}` must be a dict by epoch, for example {example}. Received: {given!r}")
    for epoch in given:
        if isinstance(epoch, bool) or not isinstance(epoch, Integral) or epoch < 0:
            raise ValueError(f"Each epoch of `{name}` must be a whole number from 0. Received: {epoch!r}")
