"""The folder of a run: a free name, written beside it as `.<name>.partial`, renamed at the end, never half there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .partial import (
    ANOTHER,
    BEST,
    CHECKPOINT,
    STATE,
    WRITER,
    aside_of,
    being_written,
    give_up,
    is_run,
    open_partial,
    partial_of,
)

RUNS = Path("saved_models")


class RunFailed(RuntimeError):  # noqa: N818
    """The run ended without what was asked of it (the accuracy, an export that proves itself)."""


def free_name(name: str, parent: str | Path = RUNS, resume: bool = False) -> Path:
    """`parent/name`, or `parent/name-2`, `-3`, ... : the first that does not exist, and (to start anew) holds no trained model."""
    first = Path(parent) / name
    number = 2
    path = first
    while path.exists() or being_written(partial_of(path)) or (is_run(partial_of(path)) and not resume):
        path = first.with_name(f"{name}-{number}")
        number += 1
    return path


def check_output(output: Path, overwrite: bool, resume: bool = False) -> None:
    """Refuse what a run cannot be written to, before any work: a file on the way, a link, what is there already.

    With `overwrite` a run folder is replaced; what is no run is refused (it would be deleted).
    """
    _check_place(output, overwrite)
    partial = partial_of(Path(os.path.abspath(output)))
    if being_written(partial):
        raise ValueError(f"{ANOTHER} Received: {str(output)!r}")
    if is_run(partial) and not (resume or overwrite):
        ways = (
            "--resume to finish it, or --overwrite to drop it"
            if (partial / STATE).is_file()
            else "--overwrite to drop it"
        )
        raise ValueError(
            f"An unfinished run there holds a trained model, {str(partial / 'model.keras')!r}; pass {ways}. "
            f"Received: {str(output)!r}"
        )


def _check_place(output: Path, overwrite: bool) -> None:
    shown = f"Received: {str(output)!r}"
    output = Path(os.path.abspath(output))
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"The output must lie in folders, and {str(parent)!r} is a file. {shown}")
    if output.is_symlink():
        raise ValueError(f"The output must be a folder of its own, not a link; give what it points to. {shown}")
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(f"The output must not exist yet; choose another --output or pass --overwrite. {shown}")
    if not output.is_dir() or (any(output.iterdir()) and not is_run(output)):
        raise ValueError(f"--overwrite replaces a run folder only, and this is not one; remove it yourself. {shown}")


@contextlib.contextmanager
def run_folder(output: str | Path, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Yield the folder to write into; it becomes `output` when the block ends well, and is removed when it does not.

    With something in it to go on from, or weights worth having (`LEFT`), it stays, and `resume` takes it up again.
    Without `resume` an older unfinished run is set aside: it goes when this one leaves something, and comes back if not.
    """
    output = Path(os.path.abspath(output))
    _undo_half_a_replacement(output)
    check_output(output, overwrite, resume)
    partial = partial_of(output)
    made = [parent for parent in partial.parents if not parent.exists()]
    open_partial(partial, resume)
    ended = False
    try:
        yield partial
        ended = True
    finally:
        if not ended:
            give_up(partial)
        for parent in made:  # the nearest first: no empty folders stay behind a run that failed
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
    _take_place(partial, output, overwrite)


def _take_place(partial: Path, output: Path, overwrite: bool) -> None:
    """Rename a run that ended well, and remove only then what it replaces and what it went on from.

    Where that fails it stays as it is, and so does the older run.
    """
    replaced = _replaced(output)
    try:
        _check_place(output, overwrite)
        if output.exists():
            if replaced.exists():
                shutil.rmtree(replaced)
            output.rename(replaced)
        partial.rename(output)
    except BaseException as error:
        _undo_half_a_replacement(output)
        (partial / WRITER).unlink(missing_ok=True)
        if isinstance(error, (ValueError, OSError)):
            text = str(error).rstrip(".")
            raise RunFailed(
                f"The run is finished, but could not take its name: {text}. It lies in {partial}."
            ) from None
        raise
    for folder in (replaced, aside_of(partial), output / CHECKPOINT):
        shutil.rmtree(folder, ignore_errors=True)
    for name in (BEST, WRITER):
        (output / name).unlink(missing_ok=True)


def _undo_half_a_replacement(output: Path) -> None:
    """Give an older run its name back that was renamed for a new one which did not come."""
    if _replaced(output).exists() and not output.exists():
        _replaced(output).rename(output)


def _replaced(output: Path) -> Path:
    return output.with_name(f".{output.name}.old")
