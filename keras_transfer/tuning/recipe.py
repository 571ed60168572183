"""Fine-tuning in one call: the head, then the top blocks, then everything, each at a lower rate than the one before."""

import math
from numbers import Real
from typing import Any

import keras

from ..core.freezing import came_frozen
from ..core.registry import register
from ..core.selection import find
from .checking import refuse_injected
from .stage import Stage
from .stages import fit_stages
from .text import reads_text, text_recipe

HEAD_RATE = 1e-3
EPOCHS = HEAD_EPOCHS = 10
CHOICES = ("schedule", "layer_decay", "batch_norm", "optimizer")


def recipe(
    model: keras.Model,
    *,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    **choices: Any,
) -> list[Stage]:
    """The stages of `fine_tune`, to look at or to change: head, top third of the blocks, all; rates 1, 1/10, 1/100.

    For texts the encoder's rate is a fiftieth of the head's, with a warm-up (`kt.tuning.text_stage`). `choices` go to the
    stages behind the head: `schedule`, `layer_decay`, `batch_norm`, `optimizer`.

    Example: `kt.tuning.fit_stages(model, kt.tuning.recipe(model, epochs=5)[:2], data)`
    """
    rate = checked_rate(learning_rate)
    top = math.ceil(len(find("blocks", model)) / 3)
    if reads_text(model):
        return text_recipe(model, top, epochs=epochs, head_epochs=head_epochs, learning_rate=learning_rate, **choices)
    epochs = EPOCHS if epochs is None else epochs
    return [
        Stage("head", "head", HEAD_EPOCHS if head_epochs is None else head_epochs, rate),
        Stage("top third", ["head", f"top:{top}"], epochs, rate / 10, **choices),
        Stage("all", None, epochs, rate / 100, **choices),
    ]


@register("progressive", kind="strategy")
def fine_tune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    **fit_kwargs: Any,
) -> keras.callbacks.History:
    """Fine-tune a pretrained classifier in three stages: the head, the top third of the blocks, everything.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146): gradual unfreezing; Kumar et al. 2022 (arXiv:2202.10054): the head
    first, because the gradients of a random head distort pretrained features. Adam at `learning_rate` (1e-3) for
    `head_epochs` (10), then at a tenth and at a hundredth of it for `epochs` (10) each; a text model has 3 epochs each,
    and AdamW at a fiftieth of the rate in the encoder (`kt.tuning.text_stage`). What a stage leaves frozen runs once, and
    a BatchNorm that came frozen stays in inference mode.

    x, y and `fit_kwargs` are those of `fit_stages`, and the choices of `recipe`. Returns the joined History, with
    `stages` and `best_epoch`.

    Example:
        model = kt.build_classifier("mobilenet_v2", len(data.class_names))
        history = kt.fine_tune(model, data, epochs=10, head_epochs=5)
    """
    plan = {"epochs": epochs, "head_epochs": head_epochs, "learning_rate": learning_rate}
    return _first_stages(3, model, x, y, plan, {"validation_data": validation_data, **fit_kwargs})


@register("partial", kind="strategy")
def partial(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    **fit_kwargs: Any,
) -> keras.callbacks.History:
    """The first two stages of `fine_tune`: the head, then the top third of the blocks; the lower blocks stay as they are.
    Of a text encoder it is the last transformer layer, with its pooler.

    Yosinski et al. 2014, How transferable are features in deep neural networks? (arXiv:1411.1792): lower layers are
    the general ones. Arguments and result as in `fine_tune`.
    """
    plan = {"epochs": epochs, "head_epochs": head_epochs, "learning_rate": learning_rate}
    return _first_stages(2, model, x, y, plan, {"validation_data": validation_data, **fit_kwargs})


def _first_stages(
    count: int, model: keras.Model, x: Any, y: Any, plan: dict[str, Any], settings: dict[str, Any]
) -> keras.callbacks.History:
    """Fit the first `count` stages of the recipe; what `settings` say of it goes there, the rest to the fit."""
    check_pretrained(model)
    choices = taken(settings, CHOICES)
    last_layer = count == 2 and reads_text(model)
    checked_rate(plan["learning_rate"])
    stages = text_recipe(model, 1, **plan, **choices) if last_layer else recipe(model, **plan, **choices)
    return fit_stages(model, stages[:count], x, y, **settings)


def taken(settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What `settings` say of the later stages, taken out of them; the rest is for the fit."""
    return {name: settings.pop(name) for name in names if name in settings}


def checked_rate(learning_rate: float | None) -> float:
    """The head's rate, 1e-3 where it is left open."""
    rate = HEAD_RATE if learning_rate is None else learning_rate
    if not isinstance(rate, Real):
        raise TypeError(
            "`learning_rate` must be the head's rate, a number; for schedules make the stages yourself "
            f"(kt.tuning.fit_stages). Received: {type(rate).__name__}"
        )
    return float(rate)


def check_pretrained(model: keras.Model) -> None:
    """A part that came frozen is worth keeping; where there is none, freezing it first would keep random weights."""
    refuse_injected(model)
    if not came_frozen(model):
        raise ValueError(
            "Nothing in the model is frozen, as in a backbone without pretrained weights: use kt.tuning.full, or, where its "
            f"weights are pretrained, kt.freeze(model, 'backbone') first. Received: model {model.name!r}"
        )
