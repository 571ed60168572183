"""A rate for each layer: an optimizer that moves every variable as a multiple of the learning rate would."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from .inner_optimizer import check_kind, check_rate, plain_rate, unused
from .rate_table import RateTable, Row, by_position, from_json, row, rows_by_name, to_json, valid_multiplier
from .registry import register

_SETTINGS = (
    *("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum", "ema_overwrite_frequency"),
    *("loss_scale_factor", "gradient_accumulation_steps"),
)


class _Rate(NamedTuple):
    multiplier: float
    decay: str | None  # the setting that says how much the variable decays, None where it does not


@register("layerwise", kind="optimizer")
class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """Moves each variable as `inner` would at `multiplier * learning_rate`, its decoupled weight decay scaled with it.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146), discriminative fine-tuning: layer l has the rate `eta_l = m_l eta`,
    and with decay lambda (Loshchilov & Hutter 2019, arXiv:1711.05101) takes the step

        theta_l <- theta_l - eta_l * lambda * theta_l - eta_l * direction(gradient_l)

    Scaling gradients instead would do nothing under Adam, which divides by their size. Everything else is Keras' own and
    there once for all variables: one `learning_rate` (a number or a schedule; callbacks see and set it), clipping,
    accumulation, EMA, loss scaling. A variable with multiplier 0 does not move at all.

    inner: a Keras optimizer that has not been used, or the name of one. It becomes part of this one.
    multipliers: `{name: multiplier}`; a name is a run of whole segments anywhere in `variable.path`: `"low"` takes
        `low/kernel` and `a/low/kernel`, not `lower/kernel`. Of two names the longer run is meant. Variables without a
        name move at the learning rate.
    table: instead of names, rates that were resolved on a model: `kt.layerwise(optimizer, model, {where: multiplier})`.

    Multipliers stand from `build` on. Raises `ValueError` on a name that matches nothing (when it is built), a negative
    multiplier, an optimizer that was built, and on one that changes more of a step than a variable's own update.

    Example:
        model.compile(kt.LayerwiseOptimizer(keras.optimizers.AdamW(1e-3), {"backbone": 0.1}), "mse")
    """

    def __init__(
        self,
        inner: keras.optimizers.Optimizer | str,
        multipliers: Mapping[str, float] | None = None,
        *,
        table: RateTable | None = None,
        name: str | None = None,
    ) -> None:
        inner = unused(inner)
        if (multipliers is None) == (table is None):
            raise ValueError(
                "Rates must come by name, {name: multiplier}, or resolved on a model by kt.layerwise. "
                f"Received: multipliers={multipliers!r} and {'a' if table else 'no'} table"
            )
        check_kind(inner)
        check_rate(inner)
        if table is None and _excludes(inner):
            raise ValueError(
                "What `exclude_from_weight_decay` named is lost in a file; say it with kt.tuning.no_decay(optimizer, model, where). "
                f"Received: {type(inner).__name__} with exclusions"
            )
        rate = plain_rate(inner)
        super().__init__(
            learning_rate=inner._learning_rate if rate is None else rate,
            name=name,
            **{setting: getattr(inner, setting) for setting in _SETTINGS},
        )
        self.multipliers = None if multipliers is None else _checked_names(multipliers)
        self.table = table
        self._saved: tuple[Row, ...] | None = None  # of what it was built over before it was saved
        self.rows: tuple[Row, ...] | None = None  # the rows of what it is built over
        self._rates: tuple[_Rate, ...] = ()
        self.inner = inner
        inner.use_ema = False
        for variable in inner.variables:
            inner._untrack_variable(variable)
        self._share()

    def _share(self) -> None:
        """The inner one has no counter and no rate of its own; set past Keras' tracking, or they would be saved twice."""
        for name in ("_iterations", "_learning_rate", "_distribution_strategy"):
            if hasattr(self, name):  # the last is TensorFlow's
                object.__setattr__(self.inner, name, getattr(self, name))

    @property
    def learning_rate(self) -> Any:
        """The rate that multiplier 1 has: a variable, or the schedule's value now."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        self._share()

    def resolve(self, variables: Sequence[keras.Variable]) -> list[Row]:
        """The rows of `variables`: at which multiple of the rate each moves, and whether it decays."""
        if self.table is not None:
            return self.table.resolve(variables, self._saved)
        # A loaded model may have other paths, and then other names; what it moved is still in the same order.
        return by_position(self._saved, variables) or rows_by_name(self.multipliers or {}, variables)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Make the state for `variables`, all of the model's or those that train."""
        if self.built:
            return
        variables = list(variables)
        self.rows = tuple(self.resolve(variables))
        self._rates = tuple(
            _Rate(row.multiplier, _decay_setting(self.inner, variable) if row.decays else None)
            for row, variable in zip(self.rows, variables, strict=True)
        )
        super().build(variables)
        self._build_inner(variables)

    def _build_inner(self, variables: list[keras.Variable]) -> None:
        """Make the state of the inner rule, anew where this one is built anew over more variables, and take it over."""
        inner = self.inner
        inner.built = False
        object.__setattr__(inner, "_trainable_variables_indices", {})
        inner.gradient_accumulation_steps = None  # they are accumulated here, once
        inner.build(variables)
        inner.gradient_accumulation_steps = self.gradient_accumulation_steps  # what it counts as a step
        for variable in inner.variables:
            inner._untrack_variable(variable)
            self._track_variable(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step at its own rate, weight decay first, as Keras does it."""
        multiplier, setting = self._rates[self._get_variable_index(variable)]
        if multiplier == 0:
            return
        rate = learning_rate if multiplier == 1 else keras.ops.multiply(learning_rate, multiplier)
        decay = None if setting is None else getattr(self if setting == "weight_decay" else self.inner, setting)
        if decay is not None:
            cast = [keras.ops.cast(value, variable.dtype) for value in (decay, rate)]
            self.assign_sub(variable, variable * cast[0] * cast[1])
        self.inner.update_step(gradient, variable, rate)

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        if isinstance(self.inner, keras.optimizers.Nadam):
            self.inner._backend_update_step([], [], learning_rate)  # its product over the steps, once for all variables
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Done in `update_step`: a setting that changed from variable to variable would be a race between replicas."""

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Refused: Keras forgets it in a file; `kt.tuning.no_decay` is kept."""
        raise ValueError(
            "What `exclude_from_weight_decay` names is lost in a file; say it with kt.tuning.no_decay(optimizer, model, where). "
            f"Received: var_list={var_list!r}, var_names={var_names!r}"
        )

    def get_config(self) -> dict[str, Any]:
        shared, moved = super().get_config(), self.rows or self._saved
        inner = keras.saving.serialize_keras_object(self.inner)
        inner["config"].update(
            {key: value for key, value in shared.items() if key in inner["config"] and key != "name"}
        )
        return {
            "name": self.name,
            "inner": inner,
            "multipliers": None if self.multipliers is None else dict(self.multipliers),
            "table": to_json(self.table.rows) if self.table else None,
            "moved": to_json(moved) if moved else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LayerwiseOptimizer":
        config = dict(config)
        table, moved = config.pop("table", None), config.pop("moved", None)
        inner = keras.saving.deserialize_keras_object(config.pop("inner"), custom_objects=custom_objects)
        rate = plain_rate(inner)
        if rate is not None and rate <= 0:  # a fit may end there, none may start there
            inner.learning_rate = 1.0
        optimizer = cls(inner, table=None if table is None else RateTable(from_json(table)), **config)
        if rate is not None:
            optimizer.learning_rate = rate
        optimizer._saved = moved and tuple(from_json(moved))
        return optimizer


def rows_of(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> list[Row]:
    """The rows of `variables` under any optimizer: a plain one has one rate, and may exclude some from its decay."""
    if isinstance(optimizer, LayerwiseOptimizer):
        return optimizer.resolve(variables)
    return [row(one, decays=optimizer._use_weight_decay(one)) for one in variables]


def weight_decay_of(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> float | None:
    """The decay coefficient that a variable has where its row says that it decays; None where there is none."""
    inner = optimizer.inner if isinstance(optimizer, LayerwiseOptimizer) else optimizer
    setting = _decay_setting(inner, variable)
    return getattr(optimizer if setting == "weight_decay" else inner, setting)


def _decay_setting(inner: keras.optimizers.Optimizer, variable: keras.Variable) -> str:
    """Muon has a weight decay of its own for what it leaves to Adam."""
    adam = isinstance(inner, keras.optimizers.Muon) and inner._should_use_adamw(variable)
    return "adam_weight_decay" if adam else "weight_decay"


def with_exclusions_of(
    optimizer: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer
) -> keras.optimizers.Optimizer:
    """`new`, which spares the weights from decay that `optimizer` spares by name; a config does not hold it."""
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    if pattern is not None:
        new._exclude_from_weight_decay_pattern = pattern
    return new


def _excludes(inner: keras.optimizers.Optimizer) -> bool:
    """Whether the user called `exclude_from_weight_decay`."""
    return bool(getattr(inner, "_exclude_from_weight_decay", None)) or bool(
        getattr(inner, "_exclude_from_weight_decay_pattern", None)
    )


def _checked_names(multipliers: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(multipliers, Mapping) or not multipliers:
        raise ValueError(f"`multipliers` must be {{name: multiplier}}, one at least. Received: {multipliers!r}")
    for name in multipliers:
        if not isinstance(name, str):
            raise ValueError(
                "A name must be text, a part of a variable's path; kt.layerwise(optimizer, model, ...) takes layers. "
                f"Received: {name!r}"
            )
    return {name: valid_multiplier(value, name) for name, value in multipliers.items()}
