"""Look at all stages before the first step: a wrong word in the last must not cost the hours before it."""

from collections.abc import Sequence
from typing import Any

import keras

from ..core.batch_norm import training_batch_norms
from ..core.freezing import apply_plan, freeze_plan
from ..core.source import Source
from ..core.streams import Stream
from .focal import FocalCrossentropy
from .stage import Stage, optimizer_for, prepare

REMEMBERED = (
    "batch_size",
    "seed",
    "views",
    "shuffle",
    "cache",
    "steps_per_epoch",
    "class_weight",
    "mix",
    "mix_strength",
)


def check_stages(
    model: keras.Model, stages: Sequence[Stage], data: Any, fresh: Sequence[keras.layers.Layer], steps: int | None
) -> bool:
    """Prepare the model and make the optimizer of every stage, and put the model back; whether BatchNorm trains in one."""
    plan, normalises = freeze_plan(model), False
    try:
        for stage in stages:
            prepare(model, stage, fresh)
            if not model.trainable_weights:
                raise ValueError(
                    "At least one layer must train in every stage; unfreeze one first. "
                    f"Received: stage {stage.name!r} with where={stage.where!r}"
                )
            optimizer_for(stage, model, steps)
            normalises = normalises or bool(training_batch_norms(model))
            if stage.batch_norm == "reestimate" and not isinstance(data, (Source, Stream)):
                raise ValueError(
                    "BatchNorm is estimated anew over the whole data, which must have an end. "
                    f"Received: {type(data).__name__} in stage {stage.name!r}"
                )
    finally:
        apply_plan(model, plan)
    return normalises


def settings_of(stages: Sequence[Stage], data: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for an interrupted training to go on, as JSON."""
    told = {name: repr(settings[name]) for name in REMEMBERED if name in settings}
    if isinstance(settings.get("loss"), FocalCrossentropy):
        told["loss"] = repr(settings["loss"].get_config())
    return {"stages": [stage.describe() for stage in stages], "data": getattr(data, "fingerprint", None), **told}


def refuse_injected(model: keras.Model) -> None:
    """A `ValueError` for a model with adapters inside, whose base a strategy would freeze or let train as it likes."""
    if getattr(model, "injections", None):
        raise ValueError(
            "A strategy chooses what trains, and would move the base of an injected model; train its adapters with "
            f"kt.tuning.tune, or merge them first. Received: model {model.name!r} with adapters"
        )
