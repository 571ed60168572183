"""The verdict on two arrays of probabilities, against figures worked out by hand."""

import json
import math

import numpy as np
import pytest

from keras_transfer.export import certify
from keras_transfer.export.certificate import CertificateError, blank_certificate
from keras_transfer.export.parity import judge
from keras_transfer.export.precisions import allowed_disagreements

BLANK = blank_certificate("model.tflite", "float32", (8, 8), "squash", "test")


def verdict(ours, theirs, precision="float32", targets=None):
    blank = BLANK if precision == "float32" else blank_certificate("model.tflite", precision, (8, 8), "squash", "test")
    return judge(np.array(ours, "float32"), np.array(theirs, "float32"), blank, targets)


def flipped(count, others):
    """Answers on `count` pictures of which `others` have another top class."""
    ours = np.tile([0.9, 0.1], (count, 1))
    theirs = ours.copy()
    theirs[:others] = theirs[:others, ::-1]
    return ours, theirs


def test_number_equal_answers_pass():
    p = [[0.7, 0.3], [0.2, 0.8]]
    found = verdict(p, p)
    assert found.passed
    assert (found.max_difference, found.top1_agreement, found.ties, found.pictures) == (0.0, 1.0, 0, 2)
    assert found.reason is None


def test_number_a_difference_above_the_tolerance_fails():
    found = verdict([[0.7, 0.3], [0.2, 0.8]], [[0.7, 0.3], [0.2005, 0.7995]])
    assert not found.passed
    assert found.max_difference == pytest.approx(5e-4, abs=1e-6)
    assert found.top1_agreement == 1.0
    assert "0.0005" in found.reason


def test_number_a_tie_does_not_count_as_a_disagreement():
    found = verdict([[0.50004, 0.49996], [0.9, 0.1]], [[0.49999, 0.50001], [0.9, 0.1]])
    assert found.passed
    assert (found.ties, found.top1_agreement) == (1, 1.0)


def test_number_a_disagreement_that_is_no_tie_fails():
    found = verdict([[0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], [[0.4, 0.6], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    assert not found.passed
    assert (found.top1_agreement, found.ties) == (0.75, 0)
    assert "1 of 4" in found.reason


@pytest.mark.parametrize(
    ("count", "allowed"),
    # floor(n / 20), one more below 100
    [(1, 1), (19, 1), (20, 2), (45, 3), (99, 5), (100, 5), (119, 5), (120, 6), (512, 25)],
)
@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_number_of_disagreements_that_rounding_is_allowed(precision, count, allowed):
    assert allowed_disagreements(0.95, count) == allowed
    passes, fails = verdict(*flipped(count, allowed), precision), verdict(*flipped(count, allowed + 1), precision)
    assert passes.passed
    assert passes.top1_agreement == pytest.approx(1 - allowed / count)
    assert (passes.tolerance, passes.least_agreement) == (None, 0.95)
    if allowed < count:
        assert not fails.passed
        assert f"differs on {allowed + 1} of {count} pictures; at most {allowed} may" in fails.reason


def test_number_float16_may_differ_by_a_hundredth_whatever_the_top_class():
    found = verdict([[0.504, 0.496], [0.9, 0.1]], [[0.496, 0.504], [0.9, 0.1]], "float16")
    assert found.passed
    assert (found.top1_agreement, found.tolerance, found.least_agreement) == (0.5, 1e-2, None)
    assert not verdict([[0.9, 0.1]], [[0.889, 0.111]], "float16").passed


def test_number_accuracy_before_and_after():
    found = verdict(
        [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]], "int8", np.array([0, 1, 1])
    )
    assert (found.accuracy_before, found.accuracy_after) == (pytest.approx(2 / 3), 1.0)
    assert verdict([[0.9, 0.1]], [[0.9, 0.1]]).accuracy_before is None


def test_law_the_difference_is_symmetric():
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(4), (2, 20))
    assert verdict(a, b).max_difference == verdict(b, a).max_difference > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_law_what_is_not_a_number_never_passes(bad):
    for pair in (([[bad, bad]], [[0.5, 0.5]]), ([[0.5, 0.5]], [[bad, bad]]), ([[bad, bad]], [[bad, bad]])):
        found = verdict(*pair)
        assert not found.passed
        assert "finite" in found.reason
        json.dumps(found.to_dict(), allow_nan=False)


def test_other_shapes_fail():
    assert "shapes" in verdict([[0.5, 0.5]], [[0.3, 0.3, 0.4]]).reason


def test_shows_itself():
    found = verdict([[0.6, 0.4]], [[0.4, 0.6]])
    assert "FAILED" in str(found)
    assert "<td>squash</td>" in found._repr_html_()
    assert CertificateError(found).certificate is found
    assert "0.2" in str(CertificateError(found))


def test_effect_a_model_tampered_with_after_the_export_fails(exported, small, pictures):
    folder, model, certificate = exported
    file = folder / "model_float32.tflite"
    assert certify(model, file, data=pictures).max_difference == certificate.max_difference
    other = small()
    other.set_weights([w * 1.01 for w in model.get_weights()])
    found = certify(other, file, data=pictures)
    assert not found.passed
    assert found.max_difference > 1e-4
    assert file.is_file()
