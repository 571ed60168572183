"""How well frozen features suit a task, without training: H-score and LogME, from features and labels alone."""

from typing import Any

import numpy as np


def h_score(features: Any, labels: Any, *, shrinkage: bool = False) -> float:
    """How far apart the class means lie, measured by how the features vary: higher is better, from 0 to classes - 1.

    Bao, Li, Huang, Zhang, Zheng, Zamir & Guibas 2019, An Information-Theoretic Approach to Transferability in Task
    Transfer Learning (arXiv:2212.10082):

        H(f) = tr(cov(f)^-1 cov(E[f | y]))

    With as many features as samples every set of labels looks separable and H is near its highest; `shrinkage` is the
    mending of Ibrahim, Ponomareva & Mazumder 2021, Newer is not always better (arXiv:2110.06893), with the covariance of
    Ledoit & Wolf 2004, a their intensity and m the mean variance of a feature:

        H_a(f) = tr(((1 - a) cov(f) + a m I)^-1 (1 - a) cov(E[f | y]))

    features: (n, d); labels: integers (n,) or one-hot rows. Raises `ValueError` for other shapes and for a single class.

    Example: `h_score(features(encoder, x, y), y, shrinkage=True)`
    """
    x, classes, counts = _checked(features, labels)
    x = x - x.mean(axis=0)
    means = np.stack([x[classes == label].mean(axis=0) for label in range(len(counts))])
    a, variance = 0.0, float((x**2).mean())
    if shrinkage:
        from sklearn.covariance import ledoit_wolf_shrinkage

        a = float(ledoit_wolf_shrinkage(x, assume_centered=True))
    _, s, turn = np.linalg.svd(x, full_matrices=False)
    kept = s > s.max(initial=0.0) * max(x.shape) * np.finfo("float64").eps
    between = (counts[:, None] * (means @ turn[kept].T) ** 2).sum(axis=0) / len(x)  # the means lie in the span of x
    return float(((1 - a) * between / ((1 - a) * s[kept] ** 2 / len(x) + a * variance)).sum())


def log_me(features: Any, labels: Any) -> float:
    """The evidence for a linear model of the labels on the features, per sample: higher is better.

    You, Liu, Wang & Long 2021, LogME: Practical Assessment of Pre-trained Models for Transfer Learning
    (arXiv:2102.11005). For each class, y is 1 or 0, y ~ N(F w, 1/beta) and w ~ N(0, 1/alpha), and the weights are
    integrated out at the alpha and beta of greatest evidence; LogME is the mean over the classes of

        max over alpha, beta of   log N(y | 0, I / beta + F F' / alpha) / n

    With the eigenvalues s_i of F F', z_i the squared parts of y along them and t = alpha / beta, the best beta is
    n / sum z_i t / (t + s_i), which leaves a search over t alone in place of the paper's fixed point.

    features: (n, d); labels as in `h_score`. Raises `ValueError` likewise.
    """
    x, classes, counts = _checked(features, labels)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    s = s**2
    if not s.max(initial=0.0) > 0:
        raise ValueError("The features must not all be zero. Received: zeros")
    targets = np.eye(len(counts))[classes]
    z = (u.T @ targets) ** 2
    return float(np.mean([_evidence(s, z[:, label], counts[label], len(x)) for label in range(len(counts))]))


def _evidence(s: np.ndarray, z: np.ndarray, size: float, n: int) -> float:
    """The greatest log-evidence a sample, over t, by a grid that narrows five times around its best point."""
    rest = max(size - z.sum(), 0.0)  # of ||y||^2 = the class's size, what lies outside the span
    low, high = np.log(s.max()) - 30, np.log(s.max()) + 15
    best = -np.inf
    for _ in range(5):
        grid = np.linspace(low, high, 65)
        t = np.exp(grid)[:, None]
        noise = (z * t / (t + s)).sum(axis=1) + rest
        found = -0.5 * (np.log1p(s / t).sum(axis=1) / n + np.log(noise / n) + 1 + np.log(2 * np.pi))
        at = int(found.argmax())
        best = max(best, float(found[at]))
        low, high = grid[max(at - 1, 0)], grid[min(at + 1, 64)]
    return best


def _checked(features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features as (n, d), labels as 0, 1, ..., and how many samples each has."""
    x, y = np.asarray(features, "float64"), np.asarray(labels)
    y = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] != 1 else y.reshape(-1)
    if x.ndim != 2 or len(x) != len(y) or not np.isfinite(x).all():
        raise ValueError(
            f"Features must be finite numbers (n, d) with a label each. Received: shapes {x.shape} and {np.shape(labels)}"
        )
    found, classes = np.unique(y, return_inverse=True)
    if len(found) < 2:
        raise ValueError(f"The labels must hold at least two classes. Received: {found.tolist()}")
    return x, classes, np.bincount(classes).astype("float64")
