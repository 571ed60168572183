"""What can make a probe's figures mean nothing: no signal in the features, splits that differ, labels that are wrong."""

from collections.abc import Iterator
from typing import Any

import numpy as np

PERMUTATIONS = 199
RIDGE = 1.0  # of the mean squared length of a standardised sample
SUREST = 0.2
Z = 1.96


def signal(x: np.ndarray, labels: np.ndarray, fold: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Whether features tell labels apart at all: balanced accuracy on held-out folds against permuted labels.

    Ojala & Garriga 2010, Permutation Tests for Studying Classifier Performance (JMLR 11). The classifier is ridge
    regression on standardised features to `(1[y = c] - pi_c) / pi_c` (pi_c: the class's share), whose answers are linear
    in the labels, so that a permutation costs one product of matrices. `p = (1 + #{permuted >= observed}) / (1 + #)`.

    x (n, d); labels (n,); fold (n,), -1 for rows that are only trained on. Returns `score`, `chance` (the mean of the
    permuted) and `p`.
    """
    random = np.random.default_rng(seed)
    classes = np.unique(labels)
    coded = np.searchsorted(classes, labels)
    judged = fold >= 0
    columns = np.stack([coded, *(random.permutation(coded) for _ in range(PERMUTATIONS))], axis=1)
    right = np.zeros(columns.shape, bool)
    for held, train, answer in _ridges(x, fold):
        known = np.stack([columns[train] == label for label in range(len(classes))], axis=2).astype("float64")
        share = np.maximum(known.mean(axis=0), 1e-12)
        targets = ((known - share) / share).reshape(len(train), -1)
        right[held] = (answer @ targets).reshape(len(held), -1, len(classes)).argmax(axis=2) == columns[held]
    scores = np.zeros(columns.shape[1])
    for label in range(len(classes)):
        here = judged[:, None] & (columns == label)
        scores += (right & here).sum(axis=0) / np.maximum(here.sum(axis=0), 1) / len(classes)
    observed, permuted = scores[0], scores[1:]
    reached = 1 + int((permuted >= observed).sum())
    return {"score": float(observed), "chance": float(permuted.mean()), "p": reached / (1 + PERMUTATIONS)}


def shift(one: np.ndarray, other: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Whether two sets of features come from one distribution: can a classifier tell from which set a sample is?

    Lopez-Paz & Oquab 2017, Revisiting Classifier Two-Sample Tests (arXiv:1610.06545); the classifier and its p-value are
    those of `signal`, with the set as the label. Returns `score` (0.5: they cannot be told apart) and `p`.
    """
    which = np.repeat([0, 1], [len(one), len(other)])
    random = np.random.default_rng(seed)
    fold = np.zeros(len(which), int)
    for label in (0, 1):
        rows = random.permutation(np.flatnonzero(which == label))
        fold[rows] = np.arange(len(rows)) % 5
    return signal(np.concatenate([one, other]), which, fold, seed)


def label_noise(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How many labels may be wrong, from out-of-fold probabilities (n, k) and the given labels (n,).

    Northcutt, Jiang & Chuang 2021, Confident Learning (arXiv:1911.00068). With the threshold of a class, the mean
    probability of it where it is the label, `t_j = mean_{y = j} p_j`, a sample counts as (label i, truly j) where j has
    the largest p_j among those with p_j >= t_j; the counts, each row scaled to the n_i samples of its label, give
    `confident`, the share off the diagonal. It takes whatever the probe cannot tell for noise, so it is an upper
    estimate. `surest` is the share contradicted among the fifth of the samples of which the probe is surest: labels that
    are wrong at random are as frequent there as anywhere, the probe's own errors are not. `surest_low` and `surest_high`
    are its 95 % interval (Wilson 1927). `suspects` are the rows counted off the diagonal, the most contradicted first.
    """
    n, classes = probabilities.shape
    means = [
        probabilities[labels == label, label].mean() if (labels == label).any() else np.inf for label in range(classes)
    ]
    sure = np.where(probabilities >= np.array(means), probabilities, -1.0)
    truly, counted = sure.argmax(axis=1), sure.max(axis=1) >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[counted], truly[counted]), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * np.bincount(labels, minlength=classes)[:, None]
    best = probabilities.argmax(axis=1)
    top = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(SUREST * n))]
    surest = float((best[top] != labels[top]).mean())
    low, high = wilson(surest, len(top))
    margin = probabilities[np.arange(n), labels] - probabilities.max(axis=1)
    off = np.flatnonzero(counted & (truly != labels))
    return {
        "confident": float(1 - np.trace(share) / max(share.sum(), 1)),
        "disagreement": float((best != labels).mean()),
        "surest": surest,
        "surest_low": low,
        "surest_high": high,
        "suspects": off[np.argsort(margin[off], kind="stable")],
    }


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in n samples (Wilson 1927)."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def _ridges(x: np.ndarray, fold: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each fold: rows held out, rows trained on, and the matrix that turns their targets into answers."""
    for part in range(fold.max() + 1):
        held, train = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        middle, deviation = x[train].mean(axis=0), x[train].std(axis=0)
        z = (x.astype("float64") - middle) / np.where(deviation > 0, deviation, np.inf)
        size = max(float((z[train] ** 2).sum(axis=1).mean()), 1e-12)
        gram = z[train] @ z[train].T / size
        near = z[held] @ z[train].T / size
        yield held, train, np.linalg.solve(gram + RIDGE * np.eye(len(train)), near.T).T
