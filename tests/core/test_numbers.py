"""Numbers that a user gives: NumPy's are taken, what is none is named with its limits."""

import numpy as np
import pytest

from keras_transfer.core.numbers import count, number


def test_numbers_come_back_as_pythons():
    for value in (3, np.int64(3), np.uint8(3)):
        assert (count("n", value), type(count("n", value))) == (3, int)
    for value in (0, 0.0, np.float32(0), np.int32(0)):
        assert (number("x", value, least=0.0, below=1.0), type(number("x", value))) == (0.0, float)
    assert count("n", 0, least=0) == 0


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, np.True_, np.float64(2), "3", None, np.array([3])])
def test_what_counts_nothing_is_named(value):
    with pytest.raises(ValueError, match=r"`n` must be a whole number of at least 1\. Received: "):
        count("n", value)
    with pytest.raises(ValueError, match="at least 2"):
        count("n", 1, least=2)


@pytest.mark.parametrize(
    ("value", "limits", "told"),
    [
        (0, {"above": 0.0}, "a number above 0."),
        (-0.1, {"least": 0.0, "below": 1.0}, "a number at least 0, below 1."),
        (1.0, {"least": 0.0, "below": 1.0}, "below 1. Received: 1.0"),
        (1.1, {"most": 1.0}, "a number at most 1. Received: 1.1"),
        (float("nan"), {}, "a number that is finite. Received: nan"),
        (float("inf"), {"above": 0.0}, "above 0. Received: inf"),
        (True, {}, "Received: True"),
        ("0.1", {}, "Received: '0.1'"),
        (None, {}, "Received: None"),
    ],
)
def test_what_is_out_of_its_limits_is_named_with_them(value, limits, told):
    with pytest.raises(ValueError, match=f"`x` must be .*{told}"):
        number("x", value, **limits)
