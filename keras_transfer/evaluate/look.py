"""What `advise` looks at: the training and validation pictures as one source, and all that frozen features tell of them."""

import time
from typing import Any

import numpy as np

from ..backbones import build_encoder
from ..backbones.transferability import h_score, log_me
from ..core.features import features
from .doubts import label_noise, shift, signal
from .pilot import Model, Rows, speed
from .probe import (
    Table,
    curve,
    deal,
    nearest_out_of_fold,
    one_thread,
    out_of_fold,
    score,
    standard_error,
    strength,
    thinned,
)
from .thresholds import value
from .weighing import Guess

MOST = 2000  # pictures that are looked at,
LEAST = 10  # of a class, where it has them
RANDOM_MOST, TEST_MOST, SUSPECTS = 500, 500, 20
FOR_FEATURES = 1 / 3  # of the time, at most
TWINS = ("near_two_labels", "near_two_splits", "duplicate", "near_duplicate")


class Look:
    """The pictures that are looked at, with their labels; `probe` makes the table of features, and its figures."""

    def __init__(self, data: Any, model: Model, backbone: Any, seconds: float, seed: int, augmented: bool) -> None:
        self.data, self.model, self.backbone, self.seed, self.augmented = data, model, backbone, seed, augmented
        self.splits = [data.splits["train"], data.splits["validation"]]
        whole = Rows(self.splits, np.arange(sum(map(len, self.splits))))
        self.speed = speed(model, whole)
        most = min(MOST, int(FOR_FEATURES * seconds / self.speed["forward"]) + 1)
        self.rows = thinned(whole.rows, whole.labels, most / len(whole), np.random.default_rng(seed), LEAST)
        self.of_train = self.rows < len(self.splits[0])
        self.source = whole.subset(self.rows)
        self.labels = self.source.labels
        self.counts = np.bincount(whole.labels, minlength=len(data.class_names))  # of all, looked at or not
        self.balanced = bool(self.counts.max() >= value("uneven") * max(self.counts.min(), 1))
        self.shift: dict[str, dict[str, float]] = {}

    def probe(self) -> dict[str, Any]:
        """All that frozen features tell; `table`, `right` and `l2` are kept for the pilot to be held against."""
        x = self._features()
        with one_thread(x.size):
            self._differ(x)
            self.table = Table(x, self.labels, self._fold(), len(self.counts), int(self.of_train.sum()))
            begun = time.perf_counter()
            self.l2 = strength(self.table, self.seed)
            solve = time.perf_counter() - begun
            judged = self.table.judged
            probabilities = out_of_fold(self.table, self.l2)
            self.right = probabilities.argmax(axis=1) == self.labels
            near = nearest_out_of_fold(self.table) == self.labels
            found: dict[str, Any] = {
                "solve": solve,
                "curve": curve(self.table, self.l2, self.balanced),
                "linear": self.guess(self.right.astype(float), judged),
                "nearest": self.guess(near.astype(float) - self.right, judged),
                "signal": signal(x, self.labels, self.table.fold, self.seed),
                "noise": label_noise(probabilities[judged], self.labels[judged]),
                "shift": self.shift,
                "ranking": {"h_score": h_score(x, self.labels, shrinkage=True), "log_me": log_me(x, self.labels)},
            }
            silent = found["signal"]["p"] > value("signal")
            found["random"] = None if silent else self._untrained(x)
        suspects = np.flatnonzero(judged)[found["noise"]["suspects"]][:SUSPECTS]
        found["noise"]["suspects"] = [self._name(row) for row in suspects]
        return found

    def guess(self, values: np.ndarray, rows: np.ndarray) -> Guess:
        """The score of `values` (n,), answers or differences of answers, over the chosen rows, and its standard error."""
        labels = self.labels[rows]
        return Guess(score(values[rows], labels, self.balanced), standard_error(values[rows], labels, self.balanced))

    def _features(self) -> np.ndarray:
        """The features of the chosen rows; of whole splits under the key that a later fit finds."""
        parts, start = [], 0
        for split in self.splits:
            rows = self.rows[(self.rows >= start) & (self.rows < start + len(split))] - start
            source = split if len(rows) == len(split) else Rows([split], rows)
            if len(rows):
                parts.append(features(self.model.model, source, show=False))
            start += len(split)
        return np.concatenate(parts)

    def _differ(self, x: np.ndarray) -> None:
        """Whether validation and test pictures resemble the training ones."""
        self.shift["validation"] = shift(x[self.of_train], x[~self.of_train], self.seed)
        if "test" in self.data.splits:
            test = self.data.splits["test"]
            some = np.sort(np.random.default_rng(self.seed).permutation(len(test))[:TEST_MOST])
            found = features(self.model.model, Rows([test], some), show=False)
            self.shift["test"] = shift(x, found, self.seed)

    def _fold(self) -> np.ndarray:
        """Five folds of all; where the validation pictures are of another kind, those without a twin in training judge alone."""
        twins = self._twins()
        if differs(self.shift["validation"]):
            fold = np.where(self.of_train, -1, 0)
            for rows in twins:
                fold[rows] = fold[rows].min()
            if (fold == 0).any():
                return fold
        return deal(self.labels, twins, seed=self.seed)

    def _twins(self) -> list[list[int]]:
        """Groups of rows that show one picture, by what the scan of the data found."""
        report = getattr(self.data, "scan", None)
        if report is None:
            return []
        at = {self._name(row): row for row in range(len(self.rows))}
        groups = [group for kind in TWINS for group in report.get(kind)]
        return [rows for group in groups if len(rows := [at[name] for name in group if name in at]) > 1]

    def _name(self, row: int) -> str:
        place, first = int(self.rows[row]), len(self.splits[0])
        return str(self.splits[0].names[place] if place < first else self.splits[1].names[place - first])

    def _untrained(self, x: np.ndarray) -> Guess | None:
        """What the probe loses on the features of the same network without its pretrained weights."""
        if not isinstance(self.backbone, str):
            return None
        rows = thinned(np.arange(len(x)), self.labels, RANDOM_MOST / len(x), np.random.default_rng(self.seed))
        shape = (*self.data.image_size, self.data.channels)
        bare = features(
            build_encoder(self.backbone, weights=None, input_shape=shape), self.source.subset(rows), show=False
        )
        fold, most = self.table.fold[rows], round(self.table.most * len(rows) / len(x))
        right = []
        for some in (x[rows], bare):
            table = Table(some, self.labels[rows], fold, self.table.classes, most)
            right.append(out_of_fold(table, strength(table)).argmax(axis=1) == table.labels)
        values = np.zeros(len(x))
        values[rows] = right[1].astype(float) - right[0]
        return self.guess(values, rows[fold >= 0])


def differs(found: dict[str, float]) -> bool:
    """Whether two sets of pictures differ by more than chance, and by enough to matter."""
    return found["p"] <= value("shift") and found["score"] >= value("shift_score")
