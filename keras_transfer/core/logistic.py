"""Multinomial logistic regression on features, standardised and penalised; the strength of the penalty cross-validated."""

from typing import Any

import numpy as np

from .closed_form import Solution, log_softmax

# From the strongest penalty down, in half decades; the search ends where the held-out loss has risen twice.
PATH = tuple(10.0**exponent for exponent in np.arange(1.5, -5.1, -0.5))
SMALL = 10**7  # numbers in a matrix
WITHOUT_A_CHOICE = 1.0  # where no class has two pictures, so that none can be held out


def probe(
    x: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    classes: int | None = None,
    *,
    l2: float | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Solution:
    """The regression on features (n, d) and labels (n,), every class among them: kernel and bias on the raw features."""
    x, classes = np.asarray(x, "float64"), int(labels.max()) + 1 if classes is None else classes
    weights = np.ones(len(x)) if weights is None else weights
    middle, deviation = x.mean(axis=0), x.std(axis=0)
    # A feature is constant, but for rounding, beside its own mean or beside the others: MiniLM has some of 1e-9 among ones.
    least = 1e-6 * np.maximum(np.abs(middle), np.median(deviation))
    deviation = np.where(deviation > least, deviation, np.inf)
    with _threads(x.size):
        z, turn = _turned((x - middle) / deviation)
        told = {"l2": l2} if l2 is not None else _choose(z, labels, weights, classes, folds, seed)
        w = _regression(z, labels, weights, classes, told["l2"], None, 1e-7)
        kernel = turn @ w[:-1] / deviation[:, None]
    return Solution(kernel, w[-1] - middle @ kernel, told)


def _threads(size: int) -> Any:
    """One thread where the matrices are not huge: their products are short, and threads that wait for cores are slow."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1 if size < SMALL else None)


def _turned(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features along their principal axes, as many as the samples span, a one behind each; and the axes (d, r).

    A turn changes no penalty, and along these axes the problem is nearly one for each coordinate.
    """
    turn = np.linalg.svd(z, full_matrices=False)[2].T if z.shape[1] > len(z) else np.linalg.eigh(z.T @ z)[1]
    return np.hstack([z @ turn, np.ones((len(z), 1))]), turn


def _choose(
    z: np.ndarray, labels: np.ndarray, weights: np.ndarray, classes: int, folds: int, seed: int
) -> dict[str, Any]:
    """The penalty with the least mean loss on what each fold holds out."""
    fold = _folds(labels, folds, seed)
    parts = sorted(set(fold[fold >= 0].tolist()))
    if len(parts) < 2:
        return {"l2": WITHOUT_A_CHOICE, "chosen_by": "nothing: no class has two pictures"}
    kept = [(z[fold != part], labels[fold != part], weights[fold != part]) for part in parts]
    start: list[np.ndarray | None] = [None] * len(parts)
    losses: list[float] = []
    for l2 in PATH:
        total = 0.0
        for at, part in enumerate(parts):
            held = fold == part
            start[at] = w = _regression(*kept[at], classes, l2, start[at], 1e-5)
            right = log_softmax(z[held] @ w)[np.arange(held.sum()), labels[held]]
            total -= float((weights[held] * right).sum())
        losses.append(total / float(weights[fold >= 0].sum()))
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    best = int(np.argmin(losses))
    return {"l2": float(PATH[best]), "chosen_by": f"{len(parts)} folds", "held_out_loss": losses[best]}


def _folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold that holds each sample out, spread evenly over every class; -1 for the only sample of a class."""
    random = np.random.default_rng(seed)
    fold = np.full(len(labels), -1)
    at = 0
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold[rows] = (at + np.arange(len(rows))) % folds
            at += len(rows)
    return fold


def _regression(
    z: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    classes: int,
    l2: float,
    start: np.ndarray | None,
    close: float,
) -> np.ndarray:
    """Weights (r + 1, classes) of the penalised regression, the bias last, by L-BFGS until the slope is below `close`."""
    from scipy.optimize import minimize

    share = (weights / weights.sum())[:, None]
    targets = share * np.eye(classes)[labels]
    penalty = np.full((z.shape[1], 1), l2)
    penalty[-1] = 0.0
    scale = 1 / np.sqrt((z**2).mean(axis=0)[:, None] / classes + penalty)  # of the curvature where all is zero

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes) * scale
        log_p = log_softmax(z @ w)
        slope = z.T @ (share * np.exp(log_p) - targets) + penalty * w
        return float((penalty * w**2).sum() / 2 - (targets * log_p).sum()), (slope * scale).ravel()

    begin = np.zeros((z.shape[1], classes)) if start is None else start / scale
    options = {"gtol": close, "ftol": 1e-13, "maxiter": 1000, "maxfun": 2000}
    found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(-1, classes) * scale
