"""A pilot of fine-tuning inside the time of a probe, and how long each strategy would take on the whole."""

import hashlib
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from ..core.activations import Runner
from ..core.features import before_head
from ..core.freezing import apply_plan, freeze_plan, unfreeze
from ..core.registry import get
from ..tuning.recipe import EPOCHS, HEAD_EPOCHS
from .probe import Table, thinned

BATCH = 32
STRATEGY = "layerwise"
LEAST_EPOCHS, LEAST_PICTURES = 4, 100
FOLDS_WANTED, OVERRUN = 2, 2.0  # a pilot of one fold may take twice its time: it is what decides
ONE_STAGE = 20  # epochs of feature_extraction, full and scratch
VIEWS = 4
EPOCH = 0.2  # seconds that an epoch on cached features takes, mostly Keras' own
TOP = 1 / 3  # of a step's work that is done in the top third of the blocks


class Rows:
    """Chosen pictures of several splits, as a `Source`: row 0 of the second split follows the last of the first."""

    def __init__(self, splits: Sequence[Any], rows: np.ndarray) -> None:
        self._parts, self.rows = list(splits), np.asarray(rows)
        self._starts = np.cumsum([0, *map(len, self._parts)])

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256("".join(str(split.fingerprint) for split in self._parts).encode())
        digest.update(self.rows.astype("int64").tobytes())
        return digest.hexdigest()

    @property
    def labels(self) -> np.ndarray:
        """The class of every row, (n,), integers."""
        return np.concatenate([split.targets() for split in self._parts])[self.rows]

    def subset(self, chosen: np.ndarray) -> "Rows":
        """Some of these rows, by their position here."""
        return Rows(self._parts, self.rows[chosen])

    def gather(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        indices = np.asarray(indices)
        rows = self.rows[indices]
        which = np.searchsorted(self._starts, rows, side="right") - 1
        pictures: Any = None
        for number, split in enumerate(self._parts):
            here = np.flatnonzero(which == number)
            if len(here):
                x = split.gather(rows[here] - self._starts[number])[0]
                pictures = np.empty((len(rows), *x.shape[1:]), x.dtype) if pictures is None else pictures
                pictures[here] = x
        return pictures, self.labels[indices]


class Model:
    """A classifier that can be put back as it was before a trial: weights, and what trains."""

    def __init__(self, model: keras.Model) -> None:
        self.model, self._weights, self._plan = model, model.get_weights(), freeze_plan(model)

    def fresh(self) -> keras.Model:
        """The model as it was."""
        self.model.set_weights(self._weights)
        return apply_plan(self.model, self._plan)


def speed(model: Model, source: Rows) -> dict[str, float]:
    """Seconds a picture of the frozen part's forward pass and of a training step of everything, and of starting each."""
    x, y = source.gather(np.arange(BATCH) % len(source))
    x = x.astype("float32")
    whole = model.fresh()
    with before_head(whole) as here:
        runner = Runner(here)
        forward = _timed(lambda: runner(x, augmented=False))
    unfreeze(whole)
    whole.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    step = _timed(lambda: whole.train_on_batch(x, y))
    model.fresh()
    return {"forward": forward[1], "step": step[1], "start_forward": forward[0], "start_step": step[0]}


def _timed(call: Any) -> tuple[float, float]:
    """Seconds of the first call beyond a later one, and seconds a picture of a later one (the best of three)."""
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return max(times[0] - min(times[1:]), 0.0), min(times[1:]) / BATCH


def seconds_of(train: int, validation: int, speed: dict[str, float], solve: float, augmented: bool) -> dict[str, float]:
    """How long each strategy takes at most, its default epochs all run, on `train` and `validation` pictures.

    A frozen part runs once for each of four views of a picture; a step of the top third of the blocks is taken for a third
    of a step of everything. `solve` is what the linear probe's regression took.
    """
    forward, step = speed["forward"], speed["step"]
    plain = speed["start_forward"] + (train + validation) * forward
    cached = plain + (VIEWS - 1 if augmented else 0) * train * forward
    whole = EPOCHS * (train * step + validation * forward + EPOCH)
    top = cached + speed["start_step"] * TOP + EPOCHS * (train * step * TOP + EPOCH)
    head = cached + HEAD_EPOCHS * EPOCH
    full = speed["start_step"] + ONE_STAGE / EPOCHS * whole
    return {
        "nearest_mean": plain,
        "linear_probe": plain + solve,
        "feature_extraction": cached + ONE_STAGE * EPOCH,
        "partial": head + top,
        "progressive": head + top + speed["start_step"] + whole,
        "layerwise": head + speed["start_step"] + whole,
        "full": full,
        "scratch": full,
    }


def pilot(
    model: Model, source: Rows, table: Table, whole: int, speed: dict[str, float], seconds: float, augmented: bool
) -> dict[str, Any] | None:
    """Fine-tune (`layerwise`) on the folds that `seconds` allow, and answer what they hold out; None where none fits even
    into twice the time.

    `epochs` of the second stage: all of its default where two folds fit so, else fewer, then fewer pictures. Returns the
    `strategy`, `epochs`, `folds`, `pictures` trained on, their `share` of the steps of a training on the `whole`, the seconds
    they `took`, `predicted` (n,), -1 where nothing was answered, and `trained`, the rows of each fold.
    """
    parts = table.parts()
    size = min(len(train) for train, _ in parts)
    start = speed["start_step"] * 1.5 + speed["start_forward"]
    views = VIEWS if augmented else 1

    def cost(pictures: int, epochs: int) -> float:
        return start + pictures * (views * speed["forward"] + epochs * speed["step"])

    choices = range(EPOCHS, LEAST_EPOCHS - 1, -1)
    epochs = next((e for e in choices if FOLDS_WANTED * cost(size, e) <= seconds), 0)
    epochs = epochs or next((e for e in choices if cost(size, e) <= seconds), LEAST_EPOCHS)
    most = size
    if cost(size, epochs) > OVERRUN * seconds:
        most = int((OVERRUN * seconds - start) / (cost(1, epochs) - start))
        if most < min(LEAST_PICTURES, size):
            return None
    predicted = np.full(len(table.x), -1)
    took: list[float] = []
    trained: list[np.ndarray] = []
    begin = time.perf_counter()
    for train, held in parts:
        if took and time.perf_counter() - begin + max(took) > seconds:
            break
        before = time.perf_counter()
        rows = thinned(train, table.labels, most / len(train), np.random.default_rng(len(took)))
        fitted = model.fresh()
        get("strategy", STRATEGY)(
            fitted, source.subset(rows), epochs=epochs, head_epochs=HEAD_EPOCHS, keep="last", verbose=0, seed=len(took)
        )
        for at in range(0, len(held), BATCH):
            some = held[(at + np.arange(BATCH)) % len(held)]  # a full batch, so that nothing is compiled anew
            predicted[some] = fitted.predict_on_batch(source.gather(some)[0].astype("float32")).argmax(axis=1)
        trained.append(rows)
        took.append(time.perf_counter() - before)
    model.fresh()
    told = {"strategy": STRATEGY, "epochs": epochs, "folds": len(took), "pictures": min(most, size)}
    told["share"] = epochs * min(most, size) / (EPOCHS * whole)
    return {**told, "took": sum(took), "predicted": predicted, "trained": trained}
