"""Give each layer its rate: by name, falling towards the input, and no weight decay where none belongs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import keras

from .inner_optimizer import check_kind, unused
from .optimizers import LayerwiseOptimizer, rows_of, weight_decay_of
from .rate_report import rate_report as rate_report  # one module for all that is said about rates
from .rate_table import RateTable, row, trainable_ever, valid_multiplier
from .selection import Where, find, named_layers, select
from .surgery import own_trainable_variables, walk

Optimizer: TypeAlias = str | keras.optimizers.Optimizer


def layerwise(
    optimizer: Optimizer, model: keras.Model, multipliers: Mapping[Where, float] | Sequence[tuple[Where, float]]
) -> LayerwiseOptimizer:
    """Train the layers that each `where` names at a multiple of the learning rate, and all others at the rate itself.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146), discriminative fine-tuning: with rate eta, layer l takes the step
    `theta_l <- theta_l - m_l * eta * direction(gradient_l)`, its weight decay scaled with it (`LayerwiseOptimizer`).

    optimizer: a new Keras optimizer, or its name; it becomes part of the result. multipliers: `{where: multiplier}`,
    `where` as in `kt.select` (a list of places as a tuple), multipliers finite and not negative, 0 for standing still.
    Of two entries that name a weight the later one holds: write the broader first. Frozen layers have their rate too,
    for when they are unfrozen. An optimizer that has rates already gets the product of both.

    Raises `ValueError` on a `where` that matches nothing (with the nearest paths), names no weight that could train, or is
    wholly covered by later ones; on a bad multiplier; on an optimizer that was built or has stepped.

    Example:
        two groups: kt.layerwise(keras.optimizers.AdamW(1e-3), model, {"backbone": 0.1})
        three: kt.layerwise("adam", model, {"backbone": 0.01, "top:2": 0.1})
    """
    if not isinstance(multipliers, (Mapping, list, tuple)) or not multipliers:
        raise ValueError(f"`multipliers` must be {{where: multiplier}}, one at least. Received: {multipliers!r}")
    entries = list(multipliers.items() if isinstance(multipliers, Mapping) else multipliers)
    chosen: dict[int, tuple[int, float]] = {}
    for number, (where, value) in enumerate(entries):
        rate = valid_multiplier(value, where)
        found = {id(one) for _, layer in select(model, where) for one in own_trainable_variables(layer)}
        if not found:
            raise ValueError(f"A `where` must name weights that could train. Received: where={where!r}")
        chosen.update(dict.fromkeys(found, (number, rate)))
    for number, (where, _) in enumerate(entries):
        if number not in {entry for entry, _ in chosen.values()}:
            raise ValueError(
                f"Of two entries the later one holds; write the broader one first. Received: {where!r}, of which later "
                "entries name every weight"
            )
    return _with_rates(optimizer, model, {key: rate for key, (_, rate) in chosen.items()})


def layerwise_decay(optimizer: Optimizer, model: keras.Model, decay: float = 0.9) -> LayerwiseOptimizer:
    """Let the rate fall from the head to the input, by the factor `decay` a block.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146), divide by 2.6 a layer; Clark et al. 2020, ELECTRA (arXiv:2003.10555),
    and Bao et al. 2021, BEiT (arXiv:2106.08254), multiply by 0.65 to 0.9. With blocks 1..n from the input (those of
    `"top:n"`) `m_head = 1` and `m_i = decay ** (n + 1 - i)`.

    What lies before the blocks, or in none, has the rate of the first; what lies behind them has that of the head.
    decay: in (0, 1]; 1 changes nothing. Raises `ValueError` where the model has no blocks that we know.

    Example: `model.compile(kt.layerwise_decay("adamw", model, 0.8), loss)`
    """
    if not 0 < valid_multiplier(decay, "decay") <= 1:
        raise ValueError(f"`decay` must be above 0 and at most 1. Received: {decay!r}")
    depth = _depth(model)
    return _with_rates(optimizer, model, {key: decay**below for key, below in depth.items()})


def layerwise_slice(optimizer: Optimizer, model: keras.Model, low: float, high: float = 1.0) -> LayerwiseOptimizer:
    """Spread the multipliers geometrically from `low` at the first block to `high` at the head, as fastai's slice does.

    Howard & Gugger 2020, fastai: a layered API for deep learning (arXiv:2002.04688). With n blocks
    `m_i = low * (high / low) ** ((i - 1) / n)` for block i, and the head as block n + 1; what lies in no block as in
    `layerwise_decay`. low, high: 0 < low <= high.

    Example: `kt.tuning.layerwise_slice(keras.optimizers.Adam(1e-3), model, 0.01)` trains the first block at 1e-5.
    """
    low, high = valid_multiplier(low, "low"), valid_multiplier(high, "high")
    if not 0 < low <= high:
        raise ValueError(f"The slice must be 0 < low <= high. Received: low={low!r}, high={high!r}")
    depth = _depth(model)
    deepest = max(1, *depth.values())
    return _with_rates(optimizer, model, {key: high * (low / high) ** (at / deepest) for key, at in depth.items()})


def no_decay(optimizer: Optimizer, model: keras.Model, where: Where = None) -> LayerwiseOptimizer:
    """Keep the optimizer's weight decay off biases and the weights of every normalisation layer; embeddings decay.

    Loshchilov & Hutter 2019 (arXiv:1711.05101) decouple the decay, `theta <- theta - eta * lambda * theta`; here lambda
    is 0 for those weights, as BERT's and ViT's recipes have it. Unlike Keras' `exclude_from_weight_decay` it is kept in
    a file. where: instead of those, the layers named, with all their weights. Composes with the rates of the other
    functions, in any order. Raises `ValueError` where the optimizer has no weight decay.

    Example: `model.compile(kt.tuning.no_decay(kt.layerwise_decay("adamw", model, 0.8), model), loss)`
    """
    optimizer = unused(optimizer)
    if not isinstance(optimizer, LayerwiseOptimizer):
        check_kind(optimizer)
    if not any(weight_decay_of(optimizer, one) for one in trainable_ever(model)):
        raise ValueError(
            "The optimizer must have a weight decay to keep off: AdamW, or `weight_decay=` of another. "
            f"Received: {type(optimizer).__name__} without one"
        )
    if where is not None:
        kept = {id(one) for _, layer in select(model, where) for one in own_trainable_variables(layer)}
    else:
        kept = {id(one) for layer in walk(model) for one in own_trainable_variables(layer) if _spared(layer, one)}
    if not kept:
        raise ValueError(f"There must be a weight to keep the decay off. Received: where={where!r}")
    return _with_rates(optimizer, model, {}, kept)


def _with_rates(
    optimizer: Optimizer, model: keras.Model, multipliers: Mapping[int, float], spared: Iterable[int] = ()
) -> LayerwiseOptimizer:
    """One wrapper with the rates that `optimizer` has and the new ones; keys are ids of variables."""
    given = unused(optimizer)
    variables, spared = trainable_ever(model), set(spared)
    rows = [
        row(one, old.multiplier * multipliers.get(id(one), 1.0), old.decays and id(one) not in spared)
        for one, old in zip(variables, rows_of(given, variables), strict=True)
    ]
    table = RateTable(rows, variables)
    if not isinstance(given, LayerwiseOptimizer):
        return LayerwiseOptimizer(given, table=table)
    given.multipliers, given.table = None, table
    return given


def _depth(model: keras.Model) -> dict[int, int]:
    """For each weight that could train, how many blocks lie above the one it is in, that one counted: the head has 0."""
    head = {id(below) for layer in _head(model) for below in walk(layer)}
    blocks = [[layer for layer in block if id(layer) not in head] for block in find("blocks", model)]
    blocks = [block for block in blocks if block]
    of_layer = {
        id(below): len(blocks) - index for index, block in enumerate(blocks) for layer in block for below in walk(layer)
    }
    order = [layer for _, layer in named_layers(model)]
    last = max((index for index, layer in enumerate(order) if id(layer) in of_layer), default=-1)
    behind = {id(layer) for layer in order[last + 1 :]} | head
    return {
        id(one): 0 if id(layer) in behind else of_layer.get(id(layer), len(blocks))
        for layer in (model, *order)
        for one in own_trainable_variables(layer)
    }


def _head(model: keras.Model) -> list[keras.layers.Layer]:
    try:
        return list(find("head", model))
    except ValueError:  # an encoder has none
        return []


_NORMALISATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
)


def _spared(layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Whether it is a bias or a weight of a normalisation: Keras' own, or of somebody's class that is called one."""
    named = type(layer).__name__.endswith(("Norm", "Normalization")) and not isinstance(layer, keras.layers.Wrapper)
    return variable.name == "bias" or variable.name.endswith("_bias") or named or isinstance(layer, _NORMALISATIONS)
