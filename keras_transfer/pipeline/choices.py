"""What a config leaves open: where the run goes, and what its task decides; what cannot be is refused early."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import STAGES, RunConfig, make_config
from .folder import RUNS, check_output, free_name
from .named import RANKED
from .opening import check_data, data_name
from .partial import being_written, is_run, partial_of
from .resuming import interrupted
from .tasks import task_of


@dataclass(frozen=True)
class Choices:
    """Where the run goes, and the config with its open ends resolved."""

    output: Path
    config: RunConfig


def choose(config: RunConfig) -> Choices:
    """Where the run goes, and what its task decides; an output that exists is refused before anything heavy is loaded."""
    place = _place(config)
    output = place if config.output or config.overwrite else free_name(place.name, RUNS, config.resume)
    if config.resume and interrupted(output) is None:
        raise ValueError(_nothing_to_resume(place, output))
    check_output(output, config.overwrite, config.resume)
    check_data(config.data)
    if Path(config.data).resolve().is_relative_to(output.resolve()):
        raise ValueError(f"The data must not lie inside the output, which is replaced. Received: {config.data!r}")
    return Choices(output, config.model_copy(update=task_of(config).resolve(config)))


def renamed(config: RunConfig, output: Path) -> str | None:
    """One line where a new run could not be called after its data, why, and what would do it."""
    place = _place(config)
    if output == place or config.resume:
        return None
    if being_written(partial_of(place)):
        why = f"another run is being written to {place}"
    elif not place.exists():
        why = f"an unfinished run of {place} holds a trained model (--overwrite would drop it)"
    else:
        why = f"{place} is there already" + (" (--overwrite would replace it)" if is_run(place) else "")
    return f"Note: {why}, so this run is called {output.name}."


def _nothing_to_resume(place: Path, output: Path) -> str:
    """What to say of `--resume` where the output has no interrupted run: another of this name may have one."""
    for other in (place, free_name(place.name, place.parent, True)):
        if interrupted(other) is not None:
            more = " --overwrite" if other.exists() else ""
            return (
                f"The interrupted run of this name is that of {other}; go on with --output {other} --resume{more}. "
                f"Received: output {str(output)!r}"
            )
    finished = ", where the run is finished" if is_run(place) else ""
    return (
        f"There must be an interrupted run to go on with; leave --resume out. Received: output {str(place)!r}{finished}"
    )


def _place(config: RunConfig) -> Path:
    """Where the run goes when nothing is in the way."""
    return Path(config.output) if config.output else RUNS / data_name(config.data, "run")


def describe(config: RunConfig, output: Path, data: Any) -> str:
    """One line: what was chosen."""
    task = task_of(config)
    weights = "no pretrained weights" if config.weights == "none" else f"weights {Path(config.weights).name}"
    sizes = " + ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    what, trained = task.describe(config, data)
    trained += f"up to {_epochs(config)} epochs, keeping the {config.keep}"
    if not STAGES[str(config.strategy)]:
        trained = "solved on the frozen features"
    strategy = f"{config.strategy}, " if config.method == "none" else ""
    return (
        f"{config.backbone} ({weights}), {strategy}{len(data.class_names)} classes, {sizes} {task.NOUN}s"
        f"{what and ' ' + what}, {trained} -> {output}"
    )


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


def learned_nothing(config: RunConfig, split: str) -> str:
    """What to say where every sample of `split` got the same class, and what may help."""
    if config.weights == "none":
        help_ = "Give it pretrained weights."
    elif not STAGES[str(config.strategy)]:  # solved: there is no epoch and no rate
        help_ = "Try another --strategy or --backbone."
    else:
        help_ = "Give it more --epochs or another --learning-rate."
    return f"Note: every {split} {task_of(config).NOUN} got the same class; the model has learned nothing that helps. {help_}"


def _epochs(config: RunConfig) -> str:
    """How many epochs, a number a stage: `10 + 10 + 10`."""
    stages = STAGES[str(config.strategy)]
    return " + ".join(map(str, [*[config.head_epochs][: stages - 1], *[config.epochs] * max(stages - 1, 1)]))
