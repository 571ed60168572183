"""Which variable moves at which multiple of the learning rate, and how a variable finds its row again after a reload."""

import math
import numbers
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from .messages import nearest
from .surgery import own_trainable_variables, walk


class Row(NamedTuple):
    """One variable: its path and shape, the multiple of the learning rate at which it moves, whether it decays."""

    path: str
    shape: tuple[int, ...]
    multiplier: float = 1.0
    decays: bool = True

    @property
    def identity(self) -> tuple[str, tuple[int, ...]]:
        """What a reload leaves alone: Keras may give another path to a layer, never to its weight another name."""
        return self.path.rpartition("/")[2], self.shape


def row(variable: keras.Variable, multiplier: float = 1.0, decays: bool = True) -> Row:
    """The row of a variable."""
    return Row(variable.path, tuple(variable.shape), multiplier, decays)


def trainable_ever(model: keras.Model) -> list[keras.Variable]:
    """The weights of `model` that train, or would if nothing were frozen, in the model's order."""
    ever = {id(one) for layer in walk(model) for one in own_trainable_variables(layer)}
    ever |= {id(one) for one in model.trainable_weights}
    variables = [one for one in model.weights if id(one) in ever]
    if not variables:
        raise ValueError(
            f"The model must be built (call it once, or give it an input shape) first. Received: model {model.name!r}"
        )
    return variables


def to_json(rows: Iterable[Row]) -> list[list[Any]]:
    """Rows as a config holds them."""
    return [[one.path, list(one.shape), one.multiplier, one.decays] for one in rows]


def from_json(rows: Iterable[Sequence[Any]]) -> list[Row]:
    """The rows that `to_json` wrote."""
    return [
        Row(str(path), tuple(shape), valid_multiplier(multiplier, path), bool(decays))
        for path, shape, multiplier, decays in rows
    ]


def valid_multiplier(value: Any, name: object) -> float:
    """`value` as a float, where it is a finite number from 0."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"A multiplier must be a finite number, 0 (it stands still) or more. Received: {value!r} for {name!r}"
        )
    return float(value)


class RateTable:
    """The rows of all variables of one model that can ever train, in the model's order.

    The model's variables are known by identity where the table was made. In a file only the rows remain, and there
    the path is no key: two layers can share one, and Keras loads a Sequential's `net/dense/kernel` as `dense/kernel`.
    """

    _alive: "weakref.WeakSet[RateTable]" = weakref.WeakSet()

    def __init__(self, rows: Iterable[Row], variables: Sequence[keras.Variable] | None = None) -> None:
        self.rows = tuple(rows)
        self.made_here = variables is not None
        # A copy by `from_config(get_config())` is for the variables of the table that it was copied from.
        self.known: list[Sequence[keras.Variable]] = [variables] if variables is not None else self._of_equal_tables()
        self._alive.add(self)

    def _of_equal_tables(self) -> list[Sequence[keras.Variable]]:
        equal = [table for table in list(self._alive) if table.rows == self.rows]
        return list({id(known): known for table in equal for known in table.known}.values())

    def resolve(self, variables: Sequence[keras.Variable], built: Sequence[Row] | None = None) -> list[Row]:
        """The rows of `variables`, any of the model's; `built` are the rows of those that the saved optimizer moved.

        By identity in the process that made the table. Else by position: a loaded model has the variables of the saved
        one in their order, those that trained then, or all. Else by path, where that leaves no doubt.
        """
        ways = [_by_identity(self.rows, known, variables) for known in self.known]
        if not self.made_here:
            ways += [by_position(built, variables), by_position(self.rows, variables), _by_path(self.rows, variables)]
        for rows in ways:
            if rows is not None:
                return rows
        stranger = next(
            (one for one in variables if row(one)[:2] not in {mine[:2] for mine in self.rows}), variables[0]
        )
        raise ValueError(
            "The rates were resolved for another model, or for this one with other layers; resolve them on this model "
            "(kt.layerwise(optimizer, model, ...)), or load the file with compile=False. "
            f"Received: {len(variables)} variables, {stranger.path!r} of shape {tuple(stranger.shape)} among them"
        )


def _by_identity(
    rows: Sequence[Row], known: Sequence[keras.Variable], variables: Sequence[keras.Variable]
) -> list[Row] | None:
    mine = {id(variable): one for variable, one in zip(known, rows, strict=True)}
    return [mine[id(one)] for one in variables] if all(id(one) in mine for one in variables) else None


def by_position(rows: Sequence[Row] | None, variables: Sequence[keras.Variable]) -> list[Row] | None:
    """The rows as they stand, where they are for as many variables of these names and shapes."""
    same = rows is not None and [one.identity for one in rows] == [row(one).identity for one in variables]
    return list(rows) if rows is not None and same else None


def _by_path(rows: Sequence[Row], variables: Sequence[keras.Variable]) -> list[Row] | None:
    """By path and shape; rows that share both must agree."""
    found: dict[tuple[Any, ...], set[Row]] = {}
    for one in rows:
        found.setdefault(one[:2], set()).add(one)
    groups = [found.get(row(one)[:2], set()) for one in variables]
    return [next(iter(group)) for group in groups] if all(len(group) == 1 for group in groups) else None


def rows_by_name(multipliers: Mapping[str, float], variables: Sequence[keras.Variable]) -> list[Row]:
    """The rows of `variables` where each name is a run of whole segments anywhere in a path: `"a/low"`, `"low"`.

    Of two names that match a variable the longer run is meant; two equally long ones must agree.
    """
    runs = {name: name.split("/") for name in multipliers}
    rows, matched = [], set()
    for variable in variables:
        segments = variable.path.split("/")
        names = [name for name, run in runs.items() if _holds(segments, run)]
        matched.update(names)
        longest = max((len(runs[name]) for name in names), default=0)
        best = [name for name in names if len(runs[name]) == longest]
        if len({multipliers[name] for name in best}) > 1:
            raise ValueError(
                f"Two names match {variable.path!r} and neither is more exact; write one with more of the path. "
                f"Received: {' and '.join(map(repr, best))}"
            )
        rows.append(row(variable, multipliers[best[0]] if best else 1.0))
    for name in multipliers:
        if name not in matched:
            paths = [variable.path.split("/") for variable in variables]
            words = [word for path in paths for word in ("/".join(path[:-1]), *path)]
            raise ValueError(
                f"The name is in no path of the variables that train. {nearest(name.split('/')[-1], words)} Frozen ones are "
                f"not among them; kt.layerwise(optimizer, model, ...) knows those too. Received: {name!r}"
            )
    return rows


def _holds(segments: list[str], run: list[str]) -> bool:
    return any(segments[start : start + len(run)] == run for start in range(len(segments) - len(run) + 1))
