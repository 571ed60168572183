"""A stratified, seeded split into train and validation that keeps equal pictures together."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def validation_count(pictures: int, fraction: float) -> int:
    """How many of a class's n pictures to hold out: `floor(n f + 1/2)`, at least 1 and at most n - 1; none of one."""
    return 0 if pictures < 2 else min(max(math.floor(pictures * fraction + 0.5), 1), pictures - 1)


def choose_validation(
    groups: Sequence[Sequence[int]], labels: Sequence[int], names: Sequence[str], fraction: float, seed: int
) -> set[int]:
    """The rows to hold out, class by class; each group of equal pictures goes to one side as a whole.

    Within a class the groups are ordered by the SHA-256 of `"seed/name"` (of the group's first name in alphabetical
    order) and each is taken that still fits into `validation_count`; where none fits, the smallest is taken, so that
    every class with two different pictures has one on each side. The order depends on the seed and the names alone: not
    on the file system, not on a NumPy version, and a picture that is added or removed hardly moves the others.

    Example: `choose_validation([[0], [1], [2]], [0, 0, 0], ["a", "b", "c"], 0.2, seed=0)`
    """
    by_class: dict[int, list[Sequence[int]]] = defaultdict(list)
    for group in groups:
        by_class[labels[group[0]]].append(group)
    chosen: set[int] = set()
    for members in by_class.values():
        ordered = sorted(members, key=lambda group: _place(min(names[row] for row in group), seed))
        goal = validation_count(sum(map(len, members)), fraction)
        taken: list[int] = []
        for group in ordered:
            if len(taken) + len(group) <= goal:
                taken += group
        if not taken and len(ordered) > 1:
            smallest = min(ordered, key=len)
            taken = list(smallest)
        chosen.update(taken)
    return chosen


def check_fraction(fraction: object) -> float:
    """`fraction` if it is a number between 0 and 1."""
    if isinstance(fraction, (float, np.floating)) and 0 < fraction < 1:
        return float(fraction)
    raise ValueError(f"validation_fraction must lie between 0 and 1, such as 0.2. Received: {fraction!r}")


def _place(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
