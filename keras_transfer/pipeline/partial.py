"""The unfinished folder of a run: one process writes it; an older unfinished run is set aside and not lost."""

import os
import shutil
from pathlib import Path

WRITER = ".writer"  # in a folder that is being written: the process that does
CHECKPOINT, BEST = "checkpoint", "best.keras"  # in such a folder: how far the training is, and its best weights
STATE = f"{CHECKPOINT}/state.npz"
LEFT = (STATE, BEST)
ANOTHER = "Another run is being written there; choose another --output."


def is_run(path: Path) -> bool:
    """Whether a folder is one that a run wrote."""
    return (path / "config.yaml").is_file() and (path / "model.keras").is_file()


def unfinished(output: str | Path) -> Path | None:
    """The folder with what an unfinished run of this output left behind; None where a living process writes it."""
    partial = partial_of(Path(os.path.abspath(output)))
    if being_written(partial):
        return None
    return next((folder for folder in (partial, aside_of(partial)) if _holds_work(folder)), None)


def open_partial(partial: Path, resume: bool) -> None:
    """Claim the folder, empty, or with what is to go on."""
    partial.mkdir(parents=True, exist_ok=True)
    _claim(partial)
    aside, work = aside_of(partial), _holds_work(partial)
    if work and resume:
        return
    if work:
        shutil.rmtree(aside, ignore_errors=True)
        partial.rename(aside)
    else:
        shutil.rmtree(partial)
        if resume and aside.exists():
            aside.rename(partial)
            (partial / WRITER).unlink(missing_ok=True)
    partial.mkdir(exist_ok=True)
    _claim(partial)


def give_up(partial: Path) -> None:
    """A run that failed goes, if it leaves nothing, and what was set aside for it comes back."""
    aside = aside_of(partial)
    if not any((partial / name).exists() for name in LEFT):
        shutil.rmtree(partial)
        if aside.exists():
            aside.rename(partial)
    (partial / WRITER).unlink(missing_ok=True)
    shutil.rmtree(aside, ignore_errors=True)


def partial_of(output: Path) -> Path:
    """Where a run is written before it gets its name."""
    return output.with_name(f".{output.name}.partial")


def aside_of(partial: Path) -> Path:
    """Where an older unfinished run waits while a new one starts."""
    return partial.with_name(f"{partial.name}.old")


def _holds_work(folder: Path) -> bool:
    """Whether there is something to go on from, or a trained model."""
    return is_run(folder) or any((folder / name).exists() for name in LEFT)


def _claim(partial: Path) -> None:
    """Become the one process that writes the folder; where one was killed, its place may be taken."""
    writer = partial / WRITER
    if not being_written(partial):
        writer.unlink(missing_ok=True)
    try:
        with open(writer, "x") as file:  # of two that come at once, one fails here
            file.write(str(os.getpid()))
    except FileExistsError:
        raise ValueError(f"{ANOTHER} Received: {str(partial)!r}") from None


def being_written(partial: Path) -> bool:
    """Whether a process that still lives writes it (on Windows nobody can tell)."""
    if os.name != "posix":  # there `os.kill` with 0 is Ctrl-C
        return False
    try:
        os.kill(int((partial / WRITER).read_text()), 0)
    except PermissionError:  # it lives, and is another user's
        return True
    except (OSError, ValueError):
        return False
    return True
