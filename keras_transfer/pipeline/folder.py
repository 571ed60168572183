"""The folder of a run: a free name, written beside it as `.<name>.partial`, renamed at the end, never half there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

RUNS = Path("saved_models")
WRITER = ".writer"  # in a folder that is being written: the process that does
CHECKPOINT, BEST = "checkpoint", "best.keras"  # in such a folder: where the training is, and its best weights
LEFT = (f"{CHECKPOINT}/state.npz", BEST)


class RunFailed(RuntimeError):  # noqa: N818
    """The run ended without what was asked of it (the accuracy, an export that proves itself)."""


def free_name(name: str, parent: str | Path = RUNS) -> Path:
    """`parent/name`, or `parent/name-2`, `-3`, ... : the first that does not exist."""
    first = Path(parent) / name
    number = 2
    path = first
    while path.exists() or _being_written(_partial(path)):
        path = first.with_name(f"{name}-{number}")
        number += 1
    return path


def is_run(path: Path) -> bool:
    """Whether a folder is one that a run wrote."""
    return (path / "config.yaml").is_file() and (path / "model.keras").is_file()


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse what a run cannot be written to, before any work: a file on the way, a link, what is there already.

    With `overwrite` a run folder is replaced; what is no run is refused (it would be deleted).
    """
    shown = f"Received: {str(output)!r}"
    output = Path(os.path.abspath(output))
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"The output must lie in folders, and {str(parent)!r} is a file. {shown}")
    if output.is_symlink():
        raise ValueError(f"The output must be a folder of its own, not a link; give what it points to. {shown}")
    if _being_written(_partial(output)):
        raise ValueError(f"Another run is being written there; choose another --output. {shown}")
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(f"The output must not exist yet; choose another --output or pass --overwrite. {shown}")
    if not output.is_dir() or (any(output.iterdir()) and not is_run(output)):
        raise ValueError(f"--overwrite replaces a run folder only, and this is not one; remove it yourself. {shown}")


def _partial(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def _being_written(partial: Path) -> bool:
    """Whether a process that still lives writes it; where one was killed, the folder may be taken over."""
    try:
        os.kill(int((partial / WRITER).read_text()), 0)
    except (OSError, ValueError):
        return False
    return os.name == "posix"


def unfinished(output: str | Path) -> Path | None:
    """The unfinished folder of this output that a run left behind, and that no living process writes."""
    partial = _partial(Path(os.path.abspath(output)))
    return partial if partial.is_dir() and not _being_written(partial) else None


@contextlib.contextmanager
def run_folder(output: str | Path, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Yield the folder to write into; it becomes `output` when the block ends well, and is removed when it does not.

    With something in it to go on from, or weights worth having (`LEFT`), it stays, and `resume` takes it up again.
    """
    output = Path(os.path.abspath(output))
    check_output(output, overwrite)
    partial = _partial(output)
    made = [parent for parent in partial.parents if not parent.exists()]
    if partial.exists() and not resume:
        shutil.rmtree(partial)  # what a killed run left
    partial.mkdir(parents=True, exist_ok=True)
    (partial / WRITER).write_text(str(os.getpid()))
    try:
        yield partial
        (partial / WRITER).unlink()
        shutil.rmtree(partial / CHECKPOINT, ignore_errors=True)
        (partial / BEST).unlink(missing_ok=True)
        check_output(output, overwrite)
        if output.exists():
            shutil.rmtree(output)
        partial.rename(output)
    finally:
        (partial / WRITER).unlink(missing_ok=True)
        if partial.exists() and not any((partial / name).exists() for name in LEFT):
            shutil.rmtree(partial)
        for parent in made:  # the nearest first: no empty folders stay behind a run that failed
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
