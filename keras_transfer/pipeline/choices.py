"""What a config leaves open: where the run goes, which weights, which picture size; what cannot be is refused early."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backbones.catalog import entry
from ..config import STAGES, RunConfig
from .folder import RUNS, check_output, free_name
from .opening import SAMPLE
from .resuming import interrupted


@dataclass(frozen=True)
class Choices:
    """The config's open ends, resolved."""

    output: Path
    weights: str | None
    image_size: int
    channels: int = 3


def choose(config: RunConfig) -> Choices:
    """Where the run goes, which weights, which size; an output that exists is refused before anything heavy is loaded."""
    output = Path(config.output) if config.output else free_name(_data_name(config.data), RUNS, config.resume)
    check_output(output, config.overwrite, config.resume)
    if config.resume and interrupted(output) is None:
        raise ValueError(
            f"There must be an interrupted run to go on with; leave --resume out. Received: output {str(output)!r}"
        )
    if not config.data.startswith(SAMPLE) and not Path(config.data).exists():
        raise ValueError(f"The data folder must exist; check the path. Received: {config.data!r}")
    if Path(config.data).resolve().is_relative_to(output.resolve()):
        raise ValueError(f"The data must not lie inside the output, which is replaced. Received: {config.data!r}")
    weights = None if config.weights == "none" else config.weights
    return Choices(output, weights, config.image_size or entry(config.backbone).image_size)


def describe(config: RunConfig, choices: Choices, data: Any) -> str:
    """One line: what was chosen."""
    weights = "no pretrained weights" if choices.weights is None else f"weights {Path(choices.weights).name}"
    sizes = " + ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    views = f" with {config.views} views" if config.augmentation != "none" and config.strategy != "full" else ""
    return (
        f"{config.backbone} ({weights}), {config.strategy}, {len(data.class_names)} classes, {sizes} pictures at "
        f"{choices.image_size} ({config.resize}), augmentation {config.augmentation}{views}, up to {_epochs(config)} epochs, "
        f"keeping the {config.keep} -> {choices.output}"
    )


def unused(config: RunConfig) -> str | None:
    """One line where a setting was given that the strategy does not use."""
    if "head_epochs" not in config.model_fields_set or STAGES[str(config.strategy)] > 1:
        return None
    return f"Note: --head-epochs is for progressive and partial; the strategy {config.strategy} takes --epochs alone."


def _epochs(config: RunConfig) -> str:
    """How many epochs, a number a stage: `10 + 10 + 10`."""
    stages = STAGES[str(config.strategy)]
    return " + ".join(map(str, [*[config.head_epochs][: stages - 1], *[config.epochs] * max(stages - 1, 1)]))


def _data_name(data: str) -> str:
    return Path(data).resolve().name.removeprefix(SAMPLE) or "run"
