"""Run the stages of a training one after the other, each a call of the same fit; keep the best, and where it stands."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from ..core.batch_norm import reestimate
from ..core.devices import scope
from ..core.feeding import coerce, steps_per_epoch
from ..core.fitting import fit
from ..core.freezing import owners
from ..core.watching import StageCallbacks
from .checkpoint import Checkpoint
from .history import JoinedHistory
from .keeper import Keeper
from .labels import check_classes, check_validation, loss_for
from .stage import Stage, optimizer_for, prepare


class _Saver(keras.callbacks.Callback):
    """Writes the checkpoint, the last of all callbacks of an epoch."""

    def __init__(self, save: Callable[[], None]) -> None:
        super().__init__()
        self._save = save

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._save()


def run_stages(
    model: keras.Model,
    stages: list[Stage],
    x: Any,
    y: Any,
    *,
    validation_data: Any,
    keep: str,
    patience: int,
    loss: Any,
    callbacks: list[keras.callbacks.Callback],
    checkpoint: Any,
    resume: bool,
    sample_weight: Any = None,
    **settings: Any,
) -> JoinedHistory:
    """`fit_stages` behind its checks."""
    if hasattr(x, "splits"):
        validation_data = x.splits["validation"] if validation_data is None else validation_data
        settings = {"batch_size": x.batch_size, "seed": x.seed, **settings}
        x = x.splits["train"]
    if hasattr(validation_data, "splits"):
        validation_data = validation_data.splits["validation"]
    check_validation(validation_data)
    loss = loss_for(model, x, y) if loss is None else loss
    data = coerce(x, y, sample_weight)
    check_classes(data)
    keeper = Keeper(keep if validation_data is not None else "last", patience)
    run = _Run(model, stages, data, keeper, Checkpoint(checkpoint) if checkpoint is not None else None)
    with scope(model):
        if resume:
            run.take_up()
        return run.go(callbacks, loss=loss, validation_data=validation_data, **settings)


class _Run:
    """A staged training while it runs: which stage, how many of its epochs are done, what was seen so far."""

    def __init__(
        self, model: keras.Model, stages: list[Stage], data: Any, keeper: Keeper, checkpoint: Checkpoint | None
    ) -> None:
        self.model, self.stages, self.data = model, stages, data
        self.keeper, self.checkpoint = keeper, checkpoint
        self.history = JoinedHistory()
        self.number = self.done = 0
        self.resumed = False
        self._clock = 0.0
        norms = [one for one in owners(model) if isinstance(one.layer, keras.layers.BatchNormalization)]
        self.fresh = [one.layer for one in norms if one.layer.trainable_weights]

    def take_up(self) -> None:
        """Go on from the checkpoint."""
        assert self.checkpoint is not None
        meta = self.checkpoint.read()
        for key, here in (("stages", self._plan()), ("data", getattr(self.data, "fingerprint", None))):
            if meta[key] != here:
                raise ValueError(
                    f"The interrupted training had other {key}, so it cannot go on. Received: {here}, not {meta[key]}"
                )
        self.number, self.done, self.resumed = meta["stage"], meta["done"], True
        self.history.epoch, self.history.history = meta["epoch"], meta["curves"]
        self.history.stages = meta["history"]
        for name, value in meta["keeper"].items():
            setattr(self.keeper, name, tuple(value) if isinstance(value, list) else value)

    def go(self, callbacks: list[keras.callbacks.Callback], **settings: Any) -> JoinedHistory:
        self.keeper.set_model(self.model)
        self.history.set_model(self.model)
        first = True
        while self.number < len(self.stages):
            watched = self._stage(callbacks, first, settings)
            if watched.stopped:
                break
            self.number, self.done, self.resumed, first = self.number + 1, 0, False, False
        self.history.best_epoch = self.keeper.best_epoch
        return self.history

    def _stage(
        self, callbacks: list[keras.callbacks.Callback], first: bool, settings: dict[str, Any]
    ) -> StageCallbacks:
        stage, before = self.stages[self.number], len(self.history.epoch) - self.done
        prepare(self.model, stage, self.fresh)
        if self.resumed and self.checkpoint is not None:
            self.checkpoint.restore_start(self.model)
            self.keeper.weights = self.checkpoint.best(self.model)
        batch_size = settings.get("batch_size", 32)
        steps = settings.get("steps_per_epoch") or steps_per_epoch(self.data, batch_size)
        optimizer = optimizer_for(stage, self.model, steps)
        self._start(stage, before, settings.get("verbose", "auto"))
        watchers = [*callbacks, self.keeper, self.history]
        if self.checkpoint is not None:
            watchers.append(_Saver(partial(self._save, before)))
        last = self.number == len(self.stages) - 1
        lists: list[StageCallbacks] = []

        def watched_by(part: keras.Model, **kwargs: Any) -> StageCallbacks:
            lists.append(StageCallbacks(part, first=first, last=last, before_end=self.keeper.restore, **kwargs))
            return lists[0]

        with self._guarded(stage):
            fit(
                self.model,
                self.data,
                optimizer=optimizer,
                epochs=stage.epochs,
                callbacks=watchers,
                before=before,
                done=self.done if self.keeper.stopped_epoch is None else stage.epochs,
                planned=before + sum(one.epochs for one in self.stages[self.number :]),
                on_ready=self._put_back if self.done else None,
                watched_by=watched_by,
                **settings,
            )
        if stage.batch_norm == "reestimate":
            reestimate(self.model, self.data, batch_size=batch_size)
        self._count(before)
        return lists[0]

    @contextmanager
    def _guarded(self, stage: Stage) -> Iterator[None]:
        """Ctrl-C and a loss that is no number leave the kept weights in the model, and one sentence."""
        try:
            yield
        except KeyboardInterrupt:
            self.keeper.restore(broken=True)
            print(f"\nInterrupted in stage {stage.name!r}; {self._what_is_left()}", file=sys.stderr)
            raise
        if self.keeper.diverged is not None:
            self.keeper.restore(broken=True)
            raise FloatingPointError(
                f"The loss is no number in epoch {self.keeper.diverged + 1} (stage {stage.name!r}); "
                f"choose a lower learning rate; {self._what_is_left()}"
            )

    def _count(self, before: int) -> None:
        now = time.perf_counter()
        told = self.history.stages[-1]
        told |= {"epochs": len(self.history.epoch) - before, "seconds": told["seconds"] + now - self._clock}
        self._clock = now

    def _start(self, stage: Stage, before: int, verbose: Any) -> None:
        """Note that a stage begins (or goes on), and say so where there are several."""
        self._clock = time.perf_counter()
        if not self.resumed:
            self.keeper.new_stage()
            rate = float(stage.learning_rate) if isinstance(stage.learning_rate, (int, float)) else None
            trains = sum(v.size for v in map(keras.ops.convert_to_numpy, self.model.trainable_weights))
            told = {"name": stage.name, "first_epoch": before, "learning_rate": rate, "schedule": stage.schedule}
            self.history.stages.append({**told, "trainable": int(trains), "epochs": 0, "seconds": 0.0})
            if self.checkpoint is not None:
                self.checkpoint.start_stage(self.model, self._meta())
        if verbose and len(self.stages) > 1:
            told = self.history.stages[-1]
            at = f" at {told['learning_rate']:g}" if told["learning_rate"] else ""
            print(
                f"Stage {self.number + 1} of {len(self.stages)}, {stage.name}: {told['trainable']:,} weights train{at}, "
                f"up to {stage.epochs} epochs"
            )

    def _save(self, before: int) -> None:
        assert self.checkpoint is not None
        if self.keeper.diverged is None:
            self.done = len(self.history.epoch) - before
            self._count(before)
            self.checkpoint.save(self.model, self.model.optimizer, self._meta(), self.keeper.weights)

    def _put_back(self) -> None:
        assert self.checkpoint is not None
        self.checkpoint.restore(self.model, self.model.optimizer)

    def _meta(self) -> dict[str, Any]:
        names = ("reached", "best_epoch", "kept_epoch", "wait", "stopped_epoch")
        return {
            "stage": self.number,
            "done": self.done,
            "stages": self._plan(),
            "data": getattr(self.data, "fingerprint", None),
            "epoch": self.history.epoch,
            "curves": self.history.history,
            "history": self.history.stages,
            "keeper": {name: getattr(self.keeper, name) for name in names},
        }

    def _plan(self) -> list[list[Any]]:
        return [[stage.name, stage.epochs] for stage in self.stages]

    def _what_is_left(self) -> str:
        kept = self.keeper.kept_epoch
        which = "the best" if self.keeper.best_epoch is not None else "the last whole one"
        return (
            f"the model holds the weights of epoch {kept + 1}, {which}."
            if kept is not None
            else "the model is as it was."
        )
