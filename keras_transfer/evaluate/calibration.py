"""How far a classifier's probabilities can be believed: the reliability diagram and the expected calibration error."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]: how many, their mean confidence, and the share that is right.

    Without an answer both means are None.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The reliability diagram: `bins` of equal width over (0, 1], from the least confident on.

    DeGroot & Fienberg 1983; Niculescu-Mizil & Caruana 2005. confidence: (n,) in 0..1, the largest probability of each
    answer. right: (n,) bool, whether the answer is the true class. Raises `ValueError` for what is neither.

    Example: `reliability(report.confidence, report.predicted == report.targets)`
    """
    confidence, right = np.asarray(confidence, "float64"), np.asarray(right)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(confidence):
        shapes = f"shapes {confidence.shape} and {right.shape}"
        raise ValueError(f"There must be one confidence and one right or wrong a picture. Received: {shapes}")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-5)).all():
        raise ValueError(f"A confidence lies in 0..1. Received: {confidence.min():g} to {confidence.max():g}")
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1. Received: {bins!r}")
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    rows = []
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = places == index
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (None, None)
        rows.append(Bin(float(low), float(high), count, *means))
    return rows


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The mean distance between confidence and accuracy over the bins, weighted by their answers; 0 is calibrated.

    Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), equation 3. With B_m the answers whose
    confidence lies in ((m - 1) / M, m / M], `ECE = sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|`. On few answers it
    is too large: each bin's accuracy is then mostly chance.

    confidence, right, bins: as for `reliability`, with its errors.

    Example: `expected_calibration_error(np.array([0.9, 0.8]), np.array([True, False]))` gives 0.45.
    """
    rows = reliability(confidence, right, bins)
    gaps = [row.count * abs(row.accuracy - row.confidence) for row in rows if row.count]  # type: ignore[operator]
    return float(sum(gaps) / sum(row.count for row in rows))


def calibrated_error(confidence: np.ndarray, bins: int = BINS, draws: int = 100, seed: int = 0) -> float:
    """The expected calibration error that a perfectly calibrated model would show on answers of this confidence.

    Broecker & Smith 2007, Increasing the Reliability of Reliability Diagrams (Weather and Forecasting 22), consistency
    resampling: whether each answer is right is drawn with its own confidence, and the error of the draws averaged. A
    measured error near this one is chance.

    Example: `calibrated_error(report.confidence)`
    """
    chance = np.asarray(confidence, "float64")
    random = np.random.default_rng(seed)
    errors = [expected_calibration_error(chance, random.random(len(chance)) < chance, bins) for _ in range(draws)]
    return float(np.mean(errors))
