"""A run that was interrupted: what it leaves in its unfinished folder, and what must hold so that it can go on."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..core.files import write_json
from .folder import BEST, CHECKPOINT, RunFailed, unfinished

SETTINGS = "settings.json"
FREE = ("output", "overwrite", "resume", "quiet", "min_accuracy", "export")  # what may differ when a run goes on


def interrupted(output: str | Path) -> Path | None:
    """The folder that an interrupted run of this output left, where its training can go on."""
    folder = unfinished(output)
    return folder if folder is not None and (folder / CHECKPOINT / "state.npz").is_file() else None


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
def leaving_the_best(model: Any, folder: Path) -> Iterator[None]:
    """Ctrl-C and a loss that is no number leave the best weights in the folder, and one sentence that says where."""
    from ..core.saving import save

    try:
        yield
    except KeyboardInterrupt:
        if _some_epoch(folder):
            save(model, folder / BEST)
            print(f"Its best weights are in {folder / BEST}; the same command with --resume goes on.", file=sys.stderr)
        raise
    except FloatingPointError as error:
        left = ""
        if _some_epoch(folder):
            left = f" Its best weights are in {save(model, folder / BEST)}."
        (folder / CHECKPOINT / "state.npz").unlink(missing_ok=True)  # it would diverge again
        raise RunFailed(f"The training diverged. {error} (--learning-rate){left}") from None


def _some_epoch(folder: Path) -> bool:
    """Whether an epoch of the training was finished."""
    from ..tuning.checkpoint import Checkpoint

    checkpoint = Checkpoint(folder / CHECKPOINT)
    return checkpoint.exists and checkpoint.read()["keeper"]["kept_epoch"] is not None
