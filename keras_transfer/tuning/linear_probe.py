"""A linear probe: multinomial logistic regression on the frozen features, its strength of penalty cross-validated."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ..core.class_weights import balanced
from ..core.closed_form import Solution, solve_head
from ..core.logistic import probe
from ..core.numbers import count, number
from ..core.registry import register


@register("linear_probe", kind="strategy")
def linear_probe(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    l2: float | None = None,
    folds: int = 5,
    class_weight: Any = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Write a multinomial logistic regression on the frozen features into the head; no step of training.

    Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes (arXiv:1610.01644); Kornblith,
    Shlens & Le 2019, Do Better ImageNet Models Transfer Better? (arXiv:1805.08974), who choose the L2 penalty on held-out
    pictures. With standardised features z = (f - mean) / deviation of the training pictures (a constant feature stays 0),

        minimise over W, b:   mean CE(softmax(W z + b), y) + l2 / 2 ||W||^2

    by L-BFGS. `l2` (above 0; None chooses it) has the least mean loss over `folds` stratified parts of the
    training pictures, each held out once, among half decades from 30 downwards; a class with one picture stays in
    training. W and b go into the head's Dense with the standardisation inside, `kernel = W / deviation`, so that the
    model saves, exports and fits on like any other.

    x, y and settings as in `nearest_mean`; `seed` draws the folds. class_weight: {class: weight} or "balanced",
    n / (classes * n_c). Returns a History of one epoch; its stage tells the `l2`. Raises `TypeError` and `ValueError` as
    `nearest_mean`.

    Example:
        model = kt.build_classifier("mobilenet_v2", len(data.class_names))
        history = kt.tuning.linear_probe(model, data)
    """
    l2 = None if l2 is None else number("l2", l2, above=0.0)
    folds = count("folds", folds, least=2)

    def solve(x: np.ndarray, labels: np.ndarray, weights: np.ndarray, classes: int, seed: int) -> Solution:
        weights = weights * _by_class(class_weight, labels, classes)
        return probe(x, labels, weights, classes, l2=l2, folds=folds, seed=seed)

    return solve_head(model, x, y, "linear probe", solve, settings)


def _by_class(class_weight: Any, labels: np.ndarray, classes: int) -> np.ndarray:
    """What each label weighs by its class."""
    if class_weight is None:
        return np.ones(len(labels))
    known = balanced(labels) if class_weight == "balanced" else class_weight
    if not isinstance(known, Mapping) or not set(known) >= set(range(classes)):
        raise ValueError(
            f"`class_weight` must be 'balanced' or {{class: weight}} with each of 0 to {classes - 1}. "
            f"Received: {class_weight!r}"
        )
    each = [number(f"class_weight[{label}]", known[label], above=0.0) for label in range(classes)]
    return np.asarray(each)[labels]
