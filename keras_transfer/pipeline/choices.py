"""What a config leaves open, chosen: strategy, picture size, learning rate, where the run goes; and what cannot go together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.registry import get
from .folder import RUNS, check_output, free_name

NO_WEIGHTS = "none"


@dataclass(frozen=True)
class Choices:
    """The config's open ends, resolved."""

    output: Path
    weights: str | Path | None
    strategy: str
    image_size: int
    channels: int = 3


def choose(config: Any) -> Choices:
    """Resolve a `RunConfig`; contradictions are refused before anything heavy is loaded."""
    weights = None if str(config.weights).lower() == NO_WEIGHTS else config.weights
    strategy = config.strategy or ("full" if weights is None else "feature_extraction")
    if weights is None and strategy == "feature_extraction":
        raise ValueError("A random backbone has no features to extract; use --strategy full, or give --weights. Received: --weights none --strategy feature_extraction")
    output = Path(config.output) if config.output else free_name(_data_name(Path(config.data)), RUNS)
    check_output(output, config.overwrite)
    from .. import tuning  # noqa: F401  registers the strategies
    from ..backbones.catalog import entry

    get("strategy", strategy)
    return Choices(output, weights, strategy, config.image_size or entry(config.backbone).image_size)


def describe(config: Any, choices: Choices, data: Any) -> str:
    """One line: what was chosen."""
    weights = "no pretrained weights" if choices.weights is None else f"weights {Path(str(choices.weights)).name}"
    sizes = " + ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    views = f" with {config.views} views" if config.augmentation != "none" and choices.strategy == "feature_extraction" else ""
    return (
        f"{config.backbone} ({weights}), {choices.strategy}, {len(data.class_names)} classes, {sizes} pictures at "
        f"{choices.image_size} ({config.resize}), augmentation {config.augmentation}{views}, up to {config.epochs} epochs, "
        f"keeping the {config.keep} -> {choices.output}"
    )


def _data_name(data: Path) -> str:
    return data.resolve().name or "run"
