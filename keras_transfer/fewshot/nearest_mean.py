"""The class whose mean is nearest: a classifier from the means of frozen features, without a step of training."""

from typing import Any

import keras
import numpy as np

from ..core.closed_form import Solution, solve_head
from ..core.registry import register


@register("nearest_mean", kind="strategy")
def nearest_mean(model: keras.Model, x: Any, y: Any = None, **settings: Any) -> keras.callbacks.History:
    """Write the nearest-mean classifier into the head: each picture gets the class whose mean feature is nearest.

    Mensink, Verbeek, Perronnin & Csurka 2013, Distance-Based Image Classification (IEEE TPAMI 35(11)); Snell et al. 2017
    (arXiv:1703.05175) call the means prototypes. With the features f of the frozen backbone and the mean mu_c of class c,
    `p(c | f) = softmax_c(-s ||f - mu_c||^2)`. What is the same for all classes changes no probability; without the distance
    to m, the mean of the mu_c, this is exactly a Dense layer, whose logits are small enough to be rounded to 8 bits, and the
    model saves, exports and fits on like any other:

        logit_c = s ||f - m||^2 - s ||f - mu_c||^2 = 2 s (mu_c - m) . f - s (||mu_c||^2 - ||m||^2)

    The scale s > 0 changes no answer, only how sure they are. It maximises the likelihood of the training labels, where a
    sample's distance to its own class is that to the mean of the others, (n_c / (n_c - 1))^2 ||f - mu_c||^2, and a label
    counts as (n + 1) / (n + 2) sure (Platt 1999), so that s is finite where all are right. Where each class has a single
    sample, s is 1 over the mean squared distance between the classes.

    x, y: `ImageData`, arrays, or a data set of pictures (B, h, w, C) in 0..255 and integer or one-hot labels, with sample
    weights or without. settings: validation_data, callbacks (of one epoch), verbose, keep, sample_weight; seed,
    batch_size, patience and views are taken, as by every strategy, and change nothing. Returns a History of one epoch,
    with `stages` and `best_epoch`. Raises `TypeError` for other settings and `ValueError` where the head is more than
    one Dense layer, or a class has no picture.

    Example:
        model = kt.build_classifier("mobilenet_v2", len(data.class_names))
        kt.fewshot.nearest_mean(model, data)
    """
    return solve_head(model, x, y, "nearest mean", _solve, settings)


def _solve(x: np.ndarray, labels: np.ndarray, weights: np.ndarray, classes: int, seed: int) -> Solution:
    totals = np.bincount(labels, weights, minlength=classes)
    means = np.zeros((classes, x.shape[1]))
    np.add.at(means, labels, weights[:, None] * x)
    means /= totals[:, None]
    # -||f - mu||^2; the features that all share change no difference of distances but cost digits
    middle = means.mean(axis=0)
    distances = _squared(x - middle, means - middle)
    scale = _scale(distances, labels, weights, totals, _squared(means - middle, means - middle))
    bias = scale * ((middle**2).sum() - (means**2).sum(axis=1))
    return Solution(2 * scale * (means - middle).T, bias, {"scale": float(scale)})


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The squared distances between the rows of `a` and those of `b`."""
    return np.maximum((a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1), 0.0)


def _scale(
    distances: np.ndarray, labels: np.ndarray, weights: np.ndarray, totals: np.ndarray, apart: np.ndarray
) -> float:
    """The s of greatest likelihood, each sample left out of its own class's mean: a zero of a rising derivative."""
    classes, rest = len(totals), totals[labels] - weights
    others = apart.sum() / max(classes * (classes - 1), 1)
    unit = 1.0 / others if others > 0 else 1.0
    left = np.flatnonzero((weights > 0) & (rest > 1e-9 * totals[labels]))
    if not len(left):
        return float(unit)
    own = labels[left]
    raw = -distances[left]
    raw[np.arange(len(left)), own] *= (totals[own] / rest[left]) ** 2
    share = weights[left] / weights[left].sum()
    sure = (len(left) + 1) / (len(left) + 2)
    wanted = np.full(raw.shape, (1 - sure) / (classes - 1))
    wanted[np.arange(len(left)), own] = sure
    low, high = np.log(unit) - 14, np.log(unit) + 14  # from nothing known to nothing doubted
    for _ in range(60):
        middle = (low + high) / 2
        logits = np.exp(middle) * raw
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
        if (share * ((found - wanted) * raw).sum(axis=1)).sum() > 0:
            high = middle
        else:
            low = middle
    return float(np.exp((low + high) / 2))
