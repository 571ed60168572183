"""The reliability diagram and the expected calibration error, against the paper's formula in plain Python."""

import numpy as np
import pytest

from keras_transfer.evaluate import report_from
from keras_transfer.evaluate.calibration import calibrated_error, expected_calibration_error, reliability


def draws(count, seed=0, sharper=1.0):
    """Confidences in 1/3..1, and answers that are right as often as they say (or less, where they are made sharper)."""
    random = np.random.default_rng(seed)
    honest = random.uniform(1 / 3, 1, count)
    return honest**sharper, random.random(count) < honest


def by_hand(confidence, right, bins):
    """Guo et al. 2017, equations 1 to 3: B_m are the answers with confidence in ((m - 1) / M, m / M]."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, p in enumerate(confidence) if (m - 1) / bins < p <= m / bins]
        if inside:
            acc = sum(bool(right[i]) for i in inside) / len(inside)
            conf = sum(float(confidence[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(acc - conf)
    return total


def test_number_by_hand():
    # one bin: |1/2 - 0.85|; two bins apart: 1/2 |1 - 0.9| + 1/2 |0 - 0.8|
    confidence, right = np.array([0.9, 0.8]), np.array([True, False])
    assert expected_calibration_error(confidence, right, bins=1) == pytest.approx(0.35)
    assert expected_calibration_error(confidence, right) == pytest.approx(0.5 * 0.1 + 0.5 * 0.8)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_number_against_the_formula(bins):
    confidence, right = draws(700, seed=bins, sharper=0.6)
    expected = by_hand(confidence, right, bins)
    assert expected > 0.05
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(expected)


def test_an_edge_belongs_to_the_bin_below_it():
    rows = reliability(np.array([0.0, 0.5, 0.5000001, 1.0]), np.ones(4, bool), bins=2)
    assert [(row.low, row.high, row.count) for row in rows] == [(0.0, 0.5, 2), (0.5, 1.0, 2)]


def test_law_the_diagram_holds_every_answer_once():
    confidence, right = draws(333)
    rows = reliability(confidence, right)
    assert len(rows) == 15
    assert sum(row.count for row in rows) == 333
    assert sum(row.count * row.accuracy for row in rows if row.count) == pytest.approx(right.sum())
    assert all(row.low < row.confidence <= row.high for row in rows if row.count)
    assert {(row.confidence, row.accuracy) for row in rows if not row.count} == {(None, None)}


def test_law_the_order_of_the_pictures_does_not_matter():
    confidence, right = draws(200)
    order = np.random.default_rng(1).permutation(200)
    first, second = (expected_calibration_error(confidence[at], right[at]) for at in (np.arange(200), order))
    assert first == pytest.approx(second)


def test_law_no_error_is_below_the_distance_of_the_means():
    confidence, right = draws(500, sharper=0.5)  # the triangle inequality over the bins
    assert expected_calibration_error(confidence, right) >= abs(confidence.mean() - right.mean()) - 1e-12


def test_effect_calibrated_answers_are_at_chance_and_sharper_ones_are_not():
    chance = np.mean([calibrated_error(draws(300, seed=seed)[0]) for seed in range(3)])
    honest = np.mean([expected_calibration_error(*draws(300, seed=seed)) for seed in range(40)])
    sharp = np.mean([expected_calibration_error(*draws(300, seed=seed, sharper=0.4)) for seed in range(40)])
    assert chance == pytest.approx(honest, rel=0.15)
    assert sharp > 2 * chance
    assert calibrated_error(draws(300)[0]) > 3 * calibrated_error(draws(6000)[0])  # it falls with the pictures


def test_the_report_has_them():
    random = np.random.default_rng(0)
    probabilities, targets = random.dirichlet(np.ones(3), 90).astype("float32"), random.integers(0, 3, 90)
    report = report_from(probabilities, targets)
    right = probabilities.argmax(1) == targets
    assert report.expected_calibration_error == pytest.approx(by_hand(probabilities.max(1), right, 15))
    assert report.to_dict()["expected_calibration_error"] == report.expected_calibration_error
    assert f"expected calibration error {report.expected_calibration_error:.4f}" in str(report)


@pytest.mark.parametrize(
    ("confidence", "right", "bins", "message"),
    [
        ([], [], 15, "one confidence and one right or wrong"),
        ([0.5, 0.5], [True], 15, r"Received: shapes \(2,\) and \(1,\)"),
        ([1.5], [True], 15, r"lies in 0\.\.1"),
        ([float("nan")], [True], 15, r"lies in 0\.\.1"),
        ([0.5], [True], 0, "at least 1"),
    ],
)
def test_what_is_no_confidence_is_refused(confidence, right, bins, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(np.array(confidence), np.array(right, bool), bins)
