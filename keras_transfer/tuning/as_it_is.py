"""Fit a model as it is: what somebody has unfrozen, or the adapters that were injected, with defaults that suit it."""

from typing import Any

import keras

from ..core.numbers import number
from .stage import AS_IT_IS, Rate
from .stages import fit_stages
from .strategies import HEAD_RATE, train
from .text import HEAD, RATE, reads_text, text_optimizer, text_stage


def tune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    learning_rate: Rate | None = None,
    epochs: int | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Train what trains in `model`, and nothing else: the adapters of `kt.peft.inject`, or what `kt.unfreeze` chose.

    x, y and `settings` as in `kt.tuning.full`. learning_rate: by default that of the active method, else 1e-3. A text
    model is trained as `kt.tuning.text_stage` says, 3 epochs of AdamW with a warm-up, and its head at 1e-3 whatever the rate
    of the adapters, except under a schedule, which is the rate of both. Returns the History.

    Raises `ValueError` where nothing trains.

    Example: `kt.tuning.tune(kt.peft.inject(model, "lora", rank=8), data)`
    """
    if not model.trainable_weights:
        raise ValueError(
            "At least one layer must train; inject a method, or unfreeze layers first. Received: a frozen model"
        )
    rate = learning_rate
    if rate is None:  # several methods in one model go at the pace of the slowest
        standing = getattr(model, "injections", ())
        active = [one for one in standing if any(not adapter.idle for adapter in one.adapters.values())]
        rate = min((one.rate for one in active), default=HEAD_RATE)
    if not reads_text(model):
        return train(model, x, y, learning_rate=rate, epochs=epochs, **settings)
    scheduled = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    head = 1.0 if scheduled else HEAD * RATE / number("learning_rate", rate, above=0.0)
    stage = text_stage(
        model, AS_IT_IS, name="train", epochs=epochs, learning_rate=rate, optimizer=text_optimizer(model, head=head)
    )
    return fit_stages(model, [stage], x, y, **settings)
