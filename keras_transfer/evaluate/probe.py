"""The probe of `advise`: what closed-form classifiers on frozen features reach on pictures that they have not seen."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.logistic import probe

FOLDS = 5
SHARES = (0.1, 0.3, 1.0)
SMALL = 10**6  # numbers in a matrix


@dataclass(frozen=True)
class Table:
    """What the probe looks at: features (n, d), labels (n,) of `classes` classes, and the fold that holds each row out.

    `fold` is -1 for rows that are always trained on. `most` is how many rows a strategy will be trained on: folds that
    leave more are thinned to it.
    """

    x: np.ndarray
    labels: np.ndarray
    fold: np.ndarray
    classes: int
    most: int

    @property
    def judged(self) -> np.ndarray:
        """Which rows a fold holds out, (n,) bool."""
        return self.fold >= 0

    def parts(self, share: float = 1.0, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each fold the rows to train on, a stratified share of what may be, and those held out."""
        random = np.random.default_rng(seed)
        found = []
        for part in range(self.fold.max() + 1):
            rows = np.flatnonzero(self.fold != part)
            wanted = share * min(self.most, len(rows)) / len(rows)
            found.append((thinned(rows, self.labels, wanted, random), np.flatnonzero(self.fold == part)))
        return found


def deal(labels: np.ndarray, groups: Sequence[Sequence[int]] = (), folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """The fold of every row, (n,): each class spread evenly, rows of one group (twins) together.

    A class whose rows are all one group stays in training, -1, because there is nothing else to learn it from.
    """
    random = np.random.default_rng(seed)
    fold = np.full(len(labels), -1)
    joined: dict[int, int] = {}
    for number, group in enumerate(groups):  # groups that share a row are one
        met = {joined[row] for row in group if row in joined}
        joined |= {row: number for row in [*group, *(row for row, other in joined.items() if other in met)]}
    load = np.zeros(folds)
    for label in np.unique(labels):
        units: dict[Any, list[int]] = {}
        for row in random.permutation(np.flatnonzero(labels == label)):
            units.setdefault(joined.get(int(row), ("alone", int(row))), []).append(int(row))
        if len(units) < 2:
            continue
        here = np.zeros(folds)
        for rows in sorted(units.values(), key=len, reverse=True):
            best = int(np.lexsort((load, here))[0])  # the fold with the fewest of this class, then the fewest of all
            fold[rows] = best
            here[best] += len(rows)
            load[best] += len(rows)
    used = np.unique(fold[fold >= 0])
    return np.where(fold >= 0, np.searchsorted(used, fold), -1)


def thinned(
    rows: np.ndarray, labels: np.ndarray, share: float, random: np.random.Generator, least: int = 1
) -> np.ndarray:
    """A share of every class among `rows`, rounded, but `least` rows of each that has them."""
    if share >= 1:
        return rows
    kept = []
    for label in np.unique(labels[rows]):
        here = random.permutation(rows[labels[rows] == label])
        kept.append(here[: max(least, round(share * len(here)))])
    return np.sort(np.concatenate(kept))


def linear(x: np.ndarray, labels: np.ndarray, new: np.ndarray, classes: int, l2: float | None = None) -> np.ndarray:
    """Probabilities (m, classes) of the linear probe's regression (`kt.tuning.linear_probe`) for new features."""
    known, own = np.unique(labels, return_inverse=True)
    found = np.zeros((len(new), classes))
    if len(known) == 1:
        found[:, known[0]] = 1.0
        return found
    solution = probe(x, own, classes=len(known), l2=l2)
    logits = np.asarray(new, "float64") @ solution.kernel + solution.bias
    found[:, known] = np.exp(logits - logits.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


def nearest(x: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The class whose mean is nearest (`kt.fewshot.nearest_mean`), (m,), for new features."""
    known = np.unique(labels)
    means = np.stack([x[labels == label].mean(axis=0) for label in known]).astype("float64")
    return known[((means**2).sum(axis=1) - 2 * np.asarray(new, "float64") @ means.T).argmin(axis=1)]


def out_of_fold(table: Table, l2: float | None) -> np.ndarray:
    """Probabilities (n, classes) for every judged row, from a linear probe that was not trained on it; others are 0."""
    found = np.zeros((len(table.x), table.classes))
    for train, held in table.parts():
        found[held] = linear(table.x[train], table.labels[train], table.x[held], table.classes, l2)
    return found


def nearest_out_of_fold(table: Table) -> np.ndarray:
    """The nearest mean's class for every judged row, (n,), -1 elsewhere."""
    found = np.full(len(table.x), -1)
    for train, held in table.parts():
        found[held] = nearest(table.x[train], table.labels[train], table.x[held])
    return found


def strength(table: Table, seed: int = 0) -> float:
    """The L2 penalty that the linear probe chooses for one fold's training rows, taken for all folds and shares."""
    rows = table.parts()[0][0]
    known, own = np.unique(table.labels[rows], return_inverse=True)
    return float(probe(table.x[rows], own, classes=len(known), seed=seed).told["l2"])


def curve(table: Table, l2: float, balanced: bool, draws: int = FOLDS) -> list[dict[str, Any]]:
    """Score by the share of the labels: mean and standard deviation over draws, each judged on rows it has not seen."""
    found = []
    for share in SHARES:
        scores, sizes = [], []
        again = -(-draws // (table.fold.max() + 1)) if share < 1 else 1
        for seed in range(again):
            for train, held in table.parts(share, seed):
                answers = linear(table.x[train], table.labels[train], table.x[held], table.classes, l2).argmax(axis=1)
                scores.append(score(answers == table.labels[held], table.labels[held], balanced))
                sizes.append(len(train))
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        found.append(
            {
                "share": share,
                "pictures": round(np.mean(sizes)),
                "score": float(np.mean(scores)),
                "spread": spread,
                "draws": len(scores),
            }
        )
    return found


def score(right: np.ndarray, labels: np.ndarray, balanced: bool) -> float:
    """Accuracy, or where `balanced` the mean over the classes of the share that is right."""
    if not balanced:
        return float(np.mean(right))
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def standard_error(values: np.ndarray, labels: np.ndarray, balanced: bool) -> float:
    """Of the score, or of a difference of two (values -1, 0, 1): over the rows, with one event more than was seen.

    `sqrt(sum_c (S_c + 1) / n_c^2) / k` over k classes (one, where not balanced), S_c the sum of squared deviations: the
    added one keeps ten right answers of ten from being sure of the eleventh.
    """
    groups = [values[labels == label] for label in np.unique(labels)] if balanced else [values]
    total = sum((((one - one.mean()) ** 2).sum() + 1) / len(one) ** 2 for one in map(np.asarray, groups))
    return float(np.sqrt(total) / len(groups))


def one_thread(size: int) -> AbstractContextManager[Any]:
    """For small matrices one thread: handing them round the cores takes longer than multiplying them."""
    from threadpoolctl import threadpool_limits  # scikit-learn's own

    return threadpool_limits(1 if size < SMALL else None)  # type: ignore[no-any-return]
