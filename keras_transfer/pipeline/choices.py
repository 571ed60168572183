"""What a config leaves open: where the run goes, and what its task decides; what cannot be is refused early."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import STAGES, RunConfig, make_config
from .folder import RUNS, check_output, free_name
from .opening import check_data, data_name
from .resuming import interrupted
from .tasks import task_of


@dataclass(frozen=True)
class Choices:
    """Where the run goes, and the config with its open ends resolved."""

    output: Path
    config: RunConfig


def choose(config: RunConfig) -> Choices:
    """Where the run goes, and what its task decides; an output that exists is refused before anything heavy is loaded."""
    output = Path(config.output) if config.output else free_name(data_name(config.data, "run"), RUNS, config.resume)
    check_output(output, config.overwrite, config.resume)
    if config.resume and interrupted(output) is None:
        raise ValueError(
            f"There must be an interrupted run to go on with; leave --resume out. Received: output {str(output)!r}"
        )
    check_data(config.data)
    if Path(config.data).resolve().is_relative_to(output.resolve()):
        raise ValueError(f"The data must not lie inside the output, which is replaced. Received: {config.data!r}")
    return Choices(output, config.model_copy(update=task_of(config).resolve(config)))


def strategy_of(name: str) -> Callable[..., Any]:
    """The strategy of that name; the rooms that register them are imported first."""
    from .. import fewshot, tuning  # noqa: F401
    from ..core.registry import get

    return get("strategy", name)


def describe(config: RunConfig, output: Path, data: Any) -> str:
    """One line: what was chosen."""
    task = task_of(config)
    weights = "no pretrained weights" if config.weights == "none" else f"weights {Path(config.weights).name}"
    sizes = " + ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    what, trained = task.describe(config, data)
    trained += f"up to {_epochs(config)} epochs, keeping the {config.keep}"
    if not STAGES[str(config.strategy)]:
        trained = "solved on the frozen features"
    return (
        f"{config.backbone} ({weights}), {config.strategy}, {len(data.class_names)} classes, {sizes} {task.NOUN}s"
        f"{what and ' ' + what}, {trained} -> {output}"
    )


RANKED = ("lora", "dora")  # methods with a rank
# what a strategy that is solved exactly has no use for
TRAINING = ("epochs", "head_epochs", "learning_rate", "views", "patience", "keep", "mix", "loss")


def unused(config: RunConfig) -> str | None:
    """One line where settings other than the defaults were given that the strategy does not use."""
    stages = STAGES[str(config.strategy)]
    idle: tuple[str, ...] = TRAINING if not stages else ("head_epochs",) if stages == 1 else ()
    if config.strategy == "nearest_mean":  # in which all classes count the same anyhow
        idle += ("class_weights",)
    fields = RunConfig.model_fields
    said = {name: getattr(config, name) for name in ("data", "task", "strategy", "weights")}
    default = dict(make_config(said)) if idle else {}
    given = [
        f"--{name.replace('_', '-')}" for name in idle if name in fields and getattr(config, name) != default[name]
    ]
    notes = [f"Note: the strategy {config.strategy} does not use {', '.join(given)}."] if given else []
    if config.rank != fields["rank"].default and config.method not in RANKED:
        notes.append(f"Note: --rank is of {' and '.join(RANKED)}; the method {config.method} does not use it.")
    return "\n".join(notes) or None


def _epochs(config: RunConfig) -> str:
    """How many epochs, a number a stage: `10 + 10 + 10`."""
    stages = STAGES[str(config.strategy)]
    return " + ".join(map(str, [*[config.head_epochs][: stages - 1], *[config.epochs] * max(stages - 1, 1)]))
