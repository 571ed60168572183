"""Run the stages of a training one after the other, each a call of the same fit; keep the best, and where it stands."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from ..core.batch_norm import reestimate, training_batch_norms
from ..core.block_states import block_states, learned
from ..core.devices import scope
from ..core.feeding import coerce, steps_per_epoch
from ..core.fitting import fit
from ..core.freezing import trainable_report
from ..core.texts import for_model
from ..core.watching import StageCallbacks
from .averaging import WeightAveraging
from .checking import check_stages, settings_of
from .checkpoint import Checkpoint
from .history import JoinedHistory
from .keeper import DivergedError, Keeper
from .labels import check_data, check_validation, loss_for, weights_for
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
    x, validation_data = for_model(x, model), for_model(validation_data, model)
    if hasattr(x, "splits"):
        validation_data = x.splits["validation"] if validation_data is None else validation_data
        settings = {"batch_size": x.batch_size, "seed": x.seed, **settings}
        x = x.splits["train"]
    validation_data = validation_data.splits["validation"] if hasattr(validation_data, "splits") else validation_data
    check_validation(validation_data)
    # Coerced once: a source knows its fingerprint, and to take it anew in every stage would read all its samples.
    data, validation_data = coerce(x, y, sample_weight), coerce(validation_data)
    mix, classifies = settings.get("mix"), loss is None or loss == "focal"
    loss = loss_for(model, loss, x, y)
    check_data(model, data, validation_data, settings.get("steps_per_epoch"), labels=classifies or mix is not None)
    if "class_weight" in settings:
        settings["class_weight"] = weights_for(settings["class_weight"], data)
    if validation_data is None and keep == "best" and settings.get("verbose", "auto"):
        print("No validation data: all epochs are run, and the last is kept.")
    if mix is not None and settings.get("verbose", "auto"):
        print(f"{mix} pairs pictures anew in every batch: the frozen part runs every time, nothing is cached.")
    keeper = Keeper(keep if validation_data is not None else "last", patience)
    run = _Run(model, stages, data, keeper, Checkpoint(checkpoint) if checkpoint is not None else None)
    settings |= {"loss": loss, "validation_data": validation_data}
    with scope(model):
        run.check(callbacks, settings)
        if resume:
            run.take_up()
        return run.go(callbacks, settings)


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
        self._settings: dict[str, Any] = {}
        self.fresh = training_batch_norms(model)
        self.learned = learned(model)

    def check(self, callbacks: list[keras.callbacks.Callback], settings: dict[str, Any]) -> None:
        """Find what is wrong with a later stage, and note what the training is, before the first step."""
        normalises = check_stages(self.model, self.stages, self.data, self.fresh, self._steps(settings))
        for one in callbacks:
            if normalises and isinstance(one, WeightAveraging) and one.data is None:
                one.data, one.batch_size = self.data, settings.get("batch_size", 32)
        kept = {"keep": self.keeper.keep, "patience": self.keeper.patience}
        self._settings = kept | settings_of(self.stages, self.data, settings)

    def _steps(self, settings: dict[str, Any]) -> int | None:
        return settings.get("steps_per_epoch") or steps_per_epoch(self.data, settings.get("batch_size", 32))

    def take_up(self) -> None:
        """Go on from the checkpoint."""
        assert self.checkpoint is not None
        meta = self.checkpoint.read()
        for key in {**meta["settings"], **self._settings}:
            here, there = self._settings.get(key), meta["settings"].get(key)
            if here != there:
                raise ValueError(
                    f"An interrupted training goes on with what it had; this one had other {key}: {there}. Received: {here}"
                )
        self.number, self.done, self.resumed = meta["stage"], meta["done"], True
        self.history.epoch, self.history.history = meta["epoch"], meta["curves"]
        self.history.stages = meta["history"]
        for name, value in meta["keeper"].items():
            setattr(self.keeper, name, tuple(value) if isinstance(value, list) else value)

    def go(self, callbacks: list[keras.callbacks.Callback], settings: dict[str, Any]) -> JoinedHistory:
        """Run the stages that are left."""
        self.keeper.set_model(self.model)
        self.history.set_model(self.model)
        first = True
        while self.number < len(self.stages):
            watched = self._stage(callbacks, first, settings)
            if watched.stopped:
                break
            self.number, self.done, self.resumed, first = self.number + 1, 0, False, False
        return self.history

    def _stage(
        self, callbacks: list[keras.callbacks.Callback], first: bool, settings: dict[str, Any]
    ) -> StageCallbacks:
        stage, before = self.stages[self.number], len(self.history.epoch) - self.done
        prepare(self.model, stage, self.fresh)
        if self.resumed and self.checkpoint is not None:
            self.checkpoint.restore_start(self.model)
            self.keeper.weights = self.checkpoint.best(self.model)
        optimizer = optimizer_for(stage, self.model, self._steps(settings))
        self._start(stage, optimizer, before, settings.get("verbose", "auto"))
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
            self._settle(stage, before, settings)
        self._count(before)
        return lists[0]

    def _settle(self, stage: Stage, before: int, settings: dict[str, Any]) -> None:
        """After a stage: whether the kept weights are the model's, and their statistics, where the stage is to renew them."""
        best = self.keeper.best_epoch
        kept = best is not None and self.keeper.diverged is None and self.keeper.in_place
        self.history.best_epoch = best if kept else None
        of_this_stage = best is None or best >= before
        if stage.batch_norm == "reestimate" and of_this_stage and self.keeper.diverged is None:
            reestimate(self.model, self.data, batch_size=settings.get("batch_size", 32))
            if kept or best is None:
                self.keeper.keep_now(self.keeper.kept_epoch)

    @contextmanager
    def _guarded(self, stage: Stage) -> Iterator[None]:
        """What breaks a stage leaves the kept weights in the model; Ctrl-C and a loss that is no number say one sentence."""
        try:
            yield
        except BaseException as error:
            self.keeper.restore(broken=True)
            if isinstance(error, KeyboardInterrupt):
                print(f"\nInterrupted in stage {stage.name!r}; {self.keeper.left}", file=sys.stderr)
            raise
        if self.keeper.diverged is not None:
            self.keeper.restore(broken=True)
            raise DivergedError(self.keeper.diverged + 1, stage.name, self.keeper.kept_epoch, self.keeper.left)

    def _count(self, before: int) -> None:
        now = time.perf_counter()
        told = self.history.stages[-1]
        told |= {"epochs": len(self.history.epoch) - before, "seconds": told["seconds"] + now - self._clock}
        self._clock = now

    def _start(self, stage: Stage, optimizer: keras.optimizers.Optimizer, before: int, verbose: Any) -> None:
        """Note that a stage begins (or goes on), and say so where there are several."""
        self._clock = time.perf_counter()
        self.keeper.begin_stage(self.resumed)
        if not self.resumed:
            trains = trainable_report(self.model).trainable
            told = {"name": stage.name, "first_epoch": before, "learning_rate": stage.rate, "schedule": stage.schedule}
            blocks = block_states(self.model, self.learned, stage.rate, optimizer)
            self.history.stages.append({**told, "trainable": trains, "epochs": 0, "seconds": 0.0, "blocks": blocks})
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
            "settings": self._settings,
            "epoch": self.history.epoch,
            "curves": self.history.history,
            "history": self.history.stages,
            "keeper": {name: getattr(self.keeper, name) for name in names},
        }
