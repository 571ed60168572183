"""`keras-transfer fit` as a function: a config in, a run folder out."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import STAGES, RunConfig
from .choices import choose, describe, learned_nothing, renamed, unused
from .folder import RunFailed, run_folder
from .partial import CHECKPOINT
from .resuming import dropped, leaving_the_best, settle, telling_how_to_go_on
from .tasks import task_of


@dataclass(frozen=True)
class RunSummary:
    """Where a run went and what it reached on its held-out samples, of which there are so many `pictures` or `texts`."""

    path: Path
    accuracy: float
    macro_f1: float
    split: str
    samples: int
    noun: str
    seconds: float


def fit(config: RunConfig, say: Callable[[str], None] = print) -> RunSummary:
    """Train what `config` says and write the run; the summary of it comes back.

    Raises `ValueError` on bad input (nothing is left behind) and `RunFailed` where the export does not prove itself
    or the accuracy stays below `min_accuracy`; the run folder is there then, with the reason in it.

    Example: `kt.pipeline.fit(RunConfig(data="photos/", weights="mobilenet_v2.weights.h5"))`
    """
    started = time.perf_counter()
    choices = choose(config)
    config, output, task = choices.config, choices.output, task_of(config)
    say = (lambda text: None) if config.quiet else say
    if (note := renamed(config, output)) is not None:
        say(note)
    from .exporting import tell_exports
    from .opening import tell_findings, tell_skipped

    data = task.read(config.model_dump(), False if config.quiet else None)
    tell_skipped(data.skipped, say)
    tell_findings(data.scan, config.data, say)
    say(describe(config, output, data))
    for note in (unused(config), None if config.resume else dropped(output)):
        if note:
            say(note)
    failed: RunFailed | None = None
    with (
        telling_how_to_go_on(output),
        run_folder(output, config.overwrite, config.resume) as folder,
        _precision(config.mixed_precision),
    ):
        fitting = time.perf_counter()
        settle(config, folder)
        model, history = train_model(config, data, folder, say)
        seconds = {"scan": data.seconds, "fit": time.perf_counter() - fitting}
        try:
            data = task.ready(data, model)
            report = _write(folder, model, data, history, config, output, seconds)
        except RunFailed as error:
            failed = error
    name, split = data.held_out
    tell_exports(output, say)
    if failed:
        raise RunFailed(f"{failed} {_reached(output, name)} The run is in {output}.")
    if len(set(report.predicted.tolist())) == 1:
        say(learned_nothing(config, name))
    if config.min_accuracy is not None and report.accuracy < config.min_accuracy:
        raise RunFailed(
            f"Accuracy {report.accuracy:.4f} on {name} is below --min-accuracy {config.min_accuracy}. The run is in {output}."
        )
    seconds_all = time.perf_counter() - started
    return RunSummary(output, report.accuracy, report.macro_f1, name, len(split), f"{task.NOUN}s", seconds_all)


def _reached(output: Path, split: str) -> str:
    """The accuracy of a run whose export failed: the model is there, and worth as much as before."""
    figures = json.loads((output / "metrics.json").read_text(encoding="utf-8"))[split]
    return f"The model itself reached accuracy {figures['accuracy']:.4f} on {split}."


def train_model(config: RunConfig, data: Any, folder: Path, say: Callable[[str], None]) -> tuple[Any, Any]:
    """Build the classifier that the config names and fit it by its strategy; of a method, say how little trains."""
    import keras

    from ..core.freezing import trainable_report

    task = task_of(config)
    keras.utils.set_random_seed(config.seed)
    model = task.build(config, data)
    if config.method != "none":
        say(trainable_report(model).line)
    settings = _settings(config, folder)
    with leaving_the_best(model, folder):
        history = task.train(config, model, data, settings)
    return task.finish(config, model, folder), history


def _settings(config: RunConfig, folder: Path) -> dict[str, Any]:
    """What the strategy is told; one that is solved exactly has no epochs, rates or checkpoints."""
    stages, verbose = STAGES[str(config.strategy)], 0 if config.quiet else "auto"
    weighed = {"class_weight": "balanced"} if config.class_weights == "balanced" else {}
    if not stages:
        return {"verbose": verbose, **({} if config.strategy == "nearest_mean" else weighed)}
    settings: dict[str, Any] = {
        "epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "patience": config.patience,
        "keep": config.keep,
        "verbose": verbose,
        "checkpoint": folder / CHECKPOINT,
        "resume": config.resume,
        **weighed,
        **task_of(config).settings(config),
    }
    if stages > 1:
        settings["head_epochs"] = config.head_epochs
    if config.loss == "focal":
        settings["loss"] = "focal"
    return settings


def _write(
    folder: Path, model: Any, data: Any, history: Any, config: RunConfig, output: Path, seconds: dict[str, float]
) -> Any:
    from .writing import write_run

    resolved = {
        "parameters": int(model.count_params()),
        "class_names": list(data.class_names),
        "skipped": [f"{path}: {reason}" for path, reason in data.skipped],
        **({"pairs": data.pairs} if config.task == "text" else {}),
    }
    rate = history.stages[0]["learning_rate"]
    return write_run(folder, model, data, history, as_run(config, output, rate), resolved, seconds)


def as_run(config: RunConfig, output: Path, learning_rate: float | None) -> RunConfig:
    """The settings as they were in the end; read again they neither ask for an interrupted run nor replace this one."""
    found = {"output": str(output), "learning_rate": learning_rate}
    return config.model_copy(update={**found, "resume": False, "overwrite": False})


@contextmanager
def _precision(mixed: bool) -> Iterator[None]:
    """Build and train in mixed precision (float16 on a GPU, bfloat16 elsewhere), and put the policy back."""
    import keras

    before = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_float16" if keras.distribution.list_devices("gpu") else "mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
