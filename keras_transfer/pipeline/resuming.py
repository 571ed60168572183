"""A run that was interrupted: what it leaves in its unfinished folder, and what must hold so that it can go on."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..core.files import write_json
from .folder import RunFailed
from .partial import BEST, CHECKPOINT, STATE, unfinished

SETTINGS = "settings.json"
FREE = ("output", "overwrite", "resume", "quiet", "min_accuracy", "export")  # what may differ when a run goes on


def interrupted(output: str | Path) -> Path | None:
    """The folder that an interrupted run of this output left, where its training can go on."""
    folder = unfinished(output)
    return folder if folder is not None and (folder / STATE).is_file() else None


def dropped(output: str | Path) -> str | None:
    """One sentence on what an unfinished run of this output left, where a new one drops it."""
    folder = unfinished(output)
    if folder is None:
        return None
    if (folder / STATE).is_file():
        return f"Starting anew: the interrupted run in {folder} will be dropped; with --resume it would go on."
    what = (
        f"best weights of a training that diverged, {folder / BEST}," if (folder / BEST).is_file() else f"run {folder}"
    )
    return f"Starting anew: the {what} will be dropped."


def settle(config: RunConfig, folder: Path) -> None:
    """Write down the settings of a new run; a run that goes on must have the same."""
    here = {name: value for name, value in config.model_dump(mode="json").items() if name not in FREE}
    path = folder / CHECKPOINT / SETTINGS
    if not config.resume:
        path.parent.mkdir()
        write_json(path, here)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    for name, value in here.items():
        if there.get(name) != value:
            raise ValueError(
                f"A run goes on with the settings that it had: `{name}` must be {there.get(name)!r}. Received: {value!r}"
            )


@contextmanager
def telling_how_to_go_on(output: str | Path) -> Iterator[None]:
    """Whatever ends a run: where it can go on, one sentence says so."""
    before = _stamp(output)
    try:
        yield
    except BaseException:
        now = _stamp(output)
        if now is not None and now == before:
            text = (
                f"The interrupted run in {interrupted(output)} is as it was; with its settings and --resume it goes on."
            )
            print(text, file=sys.stderr)
        elif now is not None:
            print("The same command with --resume goes on.", file=sys.stderr)
        raise


@contextmanager
def leaving_the_best(model: Any, folder: Path) -> Iterator[None]:
    """Ctrl-C and a loss that is no number leave the best weights in the folder, and one sentence that says where.

    Before the first finished epoch there is nothing to leave.
    """
    from ..core.saving import save

    try:
        yield
    except KeyboardInterrupt:
        if _some_epoch(folder):
            print(f"Its best weights are in {save(model, folder / BEST)}.", file=sys.stderr)
        raise
    except FloatingPointError as error:
        left = save(model, folder / BEST) if _some_epoch(folder) else None
        (folder / STATE).unlink(missing_ok=True)  # it would diverge again
        raise RunFailed(_diverged(error, left)) from None
    finally:
        if not _some_epoch(folder):
            (folder / STATE).unlink(missing_ok=True)


def _diverged(error: Any, left: Path | None) -> str:
    where = f"the loss is no number in epoch {error.epoch} (stage {error.stage!r})"
    best = f" The best weights so far, of epoch {error.kept_epoch}, are in {left}." if left else ""
    return f"The training diverged: {where}; choose a lower --learning-rate.{best}"


def _some_epoch(folder: Path) -> bool:
    """Whether an epoch of the training was finished (a state that cannot be read may hold some)."""
    from ..tuning.checkpoint import Checkpoint

    checkpoint = Checkpoint(folder / CHECKPOINT)
    try:
        return checkpoint.exists and checkpoint.read()["keeper"]["kept_epoch"] is not None
    except ValueError:
        return True


def _stamp(output: str | Path) -> int | None:
    """When the state of an interrupted run was written."""
    folder = interrupted(output)
    return None if folder is None else (folder / STATE).stat().st_mtime_ns
