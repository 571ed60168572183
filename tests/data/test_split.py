"""The split: exact counts, deterministic, disjoint, stratified, equal pictures kept together."""

import numpy as np
import pytest

from keras_transfer.data.split import choose_validation, validation_count

COUNTS = {(1, 0.2): 0, (2, 0.2): 1, (2, 0.9): 1, (5, 0.2): 1, (7, 0.2): 1, (8, 0.2): 2, (10, 0.25): 3, (123, 0.2): 25}


@pytest.mark.parametrize("case", COUNTS)
def test_the_rounding_rule_by_hand(case: tuple[int, float]) -> None:
    assert validation_count(*case) == COUNTS[case]


def alone(count: int) -> list[list[int]]:
    return [[row] for row in range(count)]


def test_every_class_has_its_count() -> None:
    labels = [0] * 40 + [1] * 11 + [2] * 2 + [3]
    chosen = choose_validation(alone(54), labels, [f"{i:02d}.png" for i in range(54)], 0.2, seed=3)
    assert np.bincount([labels[row] for row in chosen], minlength=4).tolist() == [8, 2, 1, 0]


def test_the_same_names_give_the_same_split_in_any_order() -> None:
    names = [f"{i}.png" for i in range(30)]
    chosen = {names[row] for row in choose_validation(alone(30), [0] * 30, names, 0.3, seed=5)}
    shuffled = [names[i] for i in np.random.default_rng(0).permutation(30)]
    assert chosen == {shuffled[row] for row in choose_validation(alone(30), [0] * 30, shuffled, 0.3, seed=5)}
    assert chosen != {names[row] for row in choose_validation(alone(30), [0] * 30, names, 0.3, seed=6)}


def test_seeds_choose_evenly() -> None:
    names = [f"{i}.png" for i in range(20)]
    counts = np.zeros(20)
    for seed in range(2000):
        counts[list(choose_validation(alone(20), [0] * 20, names, 0.2, seed))] += 1
    assert np.abs(counts / 2000 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 2000)


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_together(seed: int) -> None:
    groups = [[0, 7, 9], [1], [2, 3], [4], [5, 6], [8], *[[i] for i in range(10, 20)]]
    chosen = choose_validation(groups, [0] * 20, [f"{i}.png" for i in range(20)], 0.25, seed)
    assert len(chosen) == 5
    for group in groups:
        assert set(group) <= chosen or not chosen & set(group)


def test_groups_larger_than_the_share_still_leave_both_sides_filled() -> None:
    names = [f"{i}.png" for i in range(10)]
    assert choose_validation([list(range(6)), list(range(6, 10))], [0] * 10, names, 0.1, 0) == {6, 7, 8, 9}
    assert choose_validation([list(range(10))], [0] * 10, names, 0.1, 0) == set()
