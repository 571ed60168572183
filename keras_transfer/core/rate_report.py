"""Which variable trains at which rate, with which weight decay: a report to read before the fit."""

import html
import math
from dataclasses import dataclass
from typing import Any

import keras

from .optimizers import rows_of, weight_decay_of
from .rate_table import trainable_ever
from .selection import named_layers
from .surgery import own_variables

_COLUMNS = ("variable", "params", "multiplier", "learning rate", "weight decay", "state")


@dataclass(frozen=True)
class RateReport:
    """At which rate each variable trains and how it decays: a row a variable; prints as a table, in Jupyter as HTML."""

    rows: list[dict[str, Any]]
    learning_rate: float

    @property
    def line(self) -> str:
        """The rate and the counts in one line."""
        moving = [one for one in self.rows if one["state"] == "trains"]
        return (
            f"learning rate: {self.learning_rate:g} || {len(moving)} of {len(self.rows)} variables train, "
            f"{len({one['learning_rate'] for one in moving})} rates, {sum(one['weight_decay'] > 0 for one in moving)} decay"
        )

    def _cells(self) -> list[list[str]]:
        return [
            [
                one["variable"],
                f"{one['params']:,}",
                f"{one['multiplier']:g}",
                f"{one['learning_rate']:g}",
                f"{one['weight_decay']:g}" if one["weight_decay"] else "-",
                one["state"],
            ]
            for one in self.rows
        ]

    def __str__(self) -> str:
        table = [list(_COLUMNS), *self._cells()]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(_COLUMNS))]
        lines = []
        for first, *numbers, state in table:
            middle = (f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=False))
            lines.append("  ".join([f"{first:<{widths[0]}}", *middle, state]))
        return "\n".join([*lines, self.line])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>" for cells in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{self.line}</p>"


def rate_report(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> RateReport:
    """At which rate each variable of `model` trains under `optimizer` now, and with which weight decay.

    Any optimizer with one learning rate, built or not, also `model.optimizer` after `compile`. A row is `variable` (its
    path in the model), `params`, `multiplier`, `learning_rate` (the multiple of the rate now; of a frozen variable, what
    it would be), `weight_decay` (the coefficient lambda, 0 for none; a step takes `learning_rate * weight_decay` of the
    weight) and `state`: trains, frozen, or stands still at multiplier 0.

    Example: `print(kt.tuning.rate_report(model.optimizer, model))`
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(optimizer, keras.optimizers.MultiOptimizer):
        raise TypeError(
            f"The report needs an optimizer with one learning rate. Received: {optimizer!r} (of type "
            f"{type(optimizer).__name__})"
        )
    now = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    variables = trainable_ever(model)
    paths = {
        id(one): f"{path}/{one.name}" for path, layer in reversed(named_layers(model)) for one in own_variables(layer)
    }
    training = {id(one) for one in model.trainable_weights}
    rows = []
    for one, row in zip(variables, rows_of(optimizer, variables), strict=True):
        decay = (weight_decay_of(optimizer, one) or 0.0) if row.decays and row.multiplier else 0.0
        frozen = "frozen" if id(one) not in training else None
        rows.append(
            {
                "variable": paths.get(id(one), one.path),
                "params": math.prod(one.shape),
                "multiplier": row.multiplier,
                "learning_rate": row.multiplier * now,
                "weight_decay": decay,
                "state": frozen or ("trains" if row.multiplier else "stands still"),
            }
        )
    return RateReport(rows, now)
