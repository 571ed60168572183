"""AUROC, sensitivity and specificity, against their definitions."""

import json
from itertools import product

import numpy as np
import pytest

from keras_transfer.evaluate import report_from
from keras_transfer.evaluate.two_classes import two_class_figures


def answers(positive):
    positive = np.asarray(positive, "float32")
    return np.stack([1 - positive, positive], axis=1)


def test_number_by_hand():
    report = report_from(answers([0.1, 0.6, 0.3, 0.8, 0.4, 0.9]), [0, 0, 0, 1, 1, 1], ["well", "ill"], split="test")
    # pairs (ill, well) in order: 0.8 and 0.9 above all three, 0.4 above two of three: 8 of 9
    assert report.two_classes == pytest.approx(
        {"positive": "ill", "auroc": 8 / 9, "sensitivity": 2 / 3, "specificity": 2 / 3}
    )
    assert "AUROC 0.8889, sensitivity 0.6667, specificity 0.6667 (positive: ill)" in str(report)
    assert "(positive: ill)" in report._repr_html_()
    assert list(report.to_dict()) == [
        *("accuracy", "macro_f1", "expected_calibration_error"),
        *("positive", "auroc", "sensitivity", "specificity", "per_class"),
    ]


def test_number_auroc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(0)
    positive, targets = random.integers(0, 8, 120) / 8, random.integers(0, 2, 120)  # many ties
    pairs = list(product(positive[targets == 1], positive[targets == 0]))
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert two_class_figures(answers(positive), targets)["auroc"] == pytest.approx(expected)


def test_law_the_other_class_as_positive_swaps_sensitivity_and_specificity():
    random = np.random.default_rng(1)
    positive, targets = random.random(80), random.integers(0, 2, 80)
    one, other = two_class_figures(answers(positive), targets), two_class_figures(answers(1 - positive), 1 - targets)
    assert (one["sensitivity"], one["specificity"]) == pytest.approx((other["specificity"], other["sensitivity"]))
    assert one["auroc"] == pytest.approx(other["auroc"])


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (1, {"auroc": None, "sensitivity": 0.5, "specificity": None}),
        (0, {"auroc": None, "sensitivity": None, "specificity": 0.5}),
    ],
)
def test_pictures_of_one_class_leave_figures_out(target, found):
    report = report_from(answers([0.2, 0.8]), [target, target])
    assert report.two_classes == {"positive": "1", **found}
    assert "AUROC not measured" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["auroc"] is None


def test_other_numbers_of_classes_have_none():
    report = report_from(np.full((3, 3), 1 / 3), [0, 1, 2])
    assert report.two_classes is None
    assert "auroc" not in report.to_dict()
    assert "AUROC" not in str(report)
    with pytest.raises(ValueError, match=r"two classes: shape \(pictures, 2\)\. Received: \(3, 3\)"):
        two_class_figures(report.probabilities, report.targets)
