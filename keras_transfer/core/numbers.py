"""Check the numbers that a user gives: whole ones to count with, and others within their limits."""

import math
from numbers import Integral, Real
from typing import Any


def count(name: str, value: Any, *, least: int = 1) -> int:
    """`value` as a whole number of at least `least`, NumPy's too, or a `ValueError` that names it."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {value!r}")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> float:
    """`value` as a finite number within its limits, or a `ValueError` that names both."""
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or not (above < value < below and least <= value <= most):
        limits = {"above": above, "at least": least, "at most": most, "below": below}
        told = (
            ", ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)) or "that is finite"
        )
        raise ValueError(f"`{name}` must be a number {told}. Received: {value!r}")
    return float(value)
