"""What a config leaves open: where the run goes, which weights, which picture size; what cannot be is refused early."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backbones.catalog import entry
from ..config import EPOCHS, STAGES, RunConfig
from .folder import RUNS, check_output, free_name
from .opening import check_data, data_name
from .resuming import interrupted


@dataclass(frozen=True)
class Choices:
    """The config's open ends, resolved."""

    output: Path
    weights: str | None
    image_size: int
    channels: int


def choose(config: RunConfig) -> Choices:
    """Where the run goes, which weights, which size; an output that exists is refused before anything heavy is loaded."""
    output = Path(config.output) if config.output else free_name(data_name(config.data, "run"), RUNS, config.resume)
    check_output(output, config.overwrite, config.resume)
    if config.resume and interrupted(output) is None:
        raise ValueError(
            f"There must be an interrupted run to go on with; leave --resume out. Received: output {str(output)!r}"
        )
    check_data(config.data)
    if Path(config.data).resolve().is_relative_to(output.resolve()):
        raise ValueError(f"The data must not lie inside the output, which is replaced. Received: {config.data!r}")
    weights = None if config.weights == "none" else config.weights
    if weights not in (None, "imagenet"):
        _check_weights(Path(weights))
    return Choices(output, weights, config.image_size or entry(config.backbone).image_size, config.channels)


def strategy_of(name: str) -> Callable[..., Any]:
    """The strategy of that name; the rooms that register them are imported first."""
    from .. import fewshot, tuning  # noqa: F401
    from ..core.registry import get

    return get("strategy", name)


def _check_weights(path: Path) -> None:
    """A weights file that cannot be read is named before the pictures are; whether it fits, only the backbone can tell."""
    import h5py

    path = path.expanduser()
    if not path.exists():
        raise ValueError(f"`weights` must be 'imagenet', 'none' or an .h5 file that exists. Received: {str(path)!r}")
    if path.is_file() and path.suffix != ".keras" and h5py.is_hdf5(path):
        try:
            h5py.File(path).close()
            return
        except OSError:  # cut short
            pass
    from ..backbones.h5 import read

    read(path)


def describe(config: RunConfig, choices: Choices, data: Any) -> str:
    """One line: what was chosen."""
    weights = "no pretrained weights" if choices.weights is None else f"weights {Path(choices.weights).name}"
    sizes = " + ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    views = (
        f" with {config.views} views"
        if config.augmentation != "none" and config.strategy != "full" and config.mix == "none"
        else ""
    )
    mix = "" if config.mix == "none" else f", {config.mix}"
    trained = (
        f"augmentation {config.augmentation}{views}{mix}, up to {_epochs(config)} epochs, keeping the {config.keep}"
    )
    if not STAGES[str(config.strategy)]:
        trained = "solved on the frozen features"
    return (
        f"{config.backbone} ({weights}), {config.strategy}, {len(data.class_names)} classes, {sizes} pictures at "
        f"{choices.image_size} ({config.resize}), {trained} -> {choices.output}"
    )


# what a strategy that is solved exactly has no use for
TRAINING = ("epochs", "head_epochs", "learning_rate", "views", "patience", "keep", "mix", "loss")


def unused(config: RunConfig) -> str | None:
    """One line where settings other than the defaults were given that the strategy does not use."""
    stages = STAGES[str(config.strategy)]
    idle: tuple[str, ...] = TRAINING if not stages else ("head_epochs",) if stages == 1 else ()
    if config.strategy == "nearest_mean":  # in which all classes count the same anyhow
        idle += ("class_weights",)
    default = {name: field.default for name, field in RunConfig.model_fields.items()} | {"epochs": EPOCHS}
    given = [f"--{name.replace('_', '-')}" for name in idle if getattr(config, name) != default[name]]
    return f"Note: the strategy {config.strategy} does not use {', '.join(given)}." if given else None


def _epochs(config: RunConfig) -> str:
    """How many epochs, a number a stage: `10 + 10 + 10`."""
    stages = STAGES[str(config.strategy)]
    return " + ".join(map(str, [*[config.head_epochs][: stages - 1], *[config.epochs] * max(stages - 1, 1)]))
