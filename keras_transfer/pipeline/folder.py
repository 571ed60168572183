"""The folder of a run: a free name, written beside it as `.<name>.partial`, renamed at the end, never half there."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

RUNS = Path("saved_models")


class RunFailed(RuntimeError):  # noqa: N818
    """The run ended without what was asked of it (the accuracy, an export that proves itself)."""


def free_name(name: str, parent: str | Path = RUNS) -> Path:
    """`parent/name`, or `parent/name-2`, `-3`, ... : the first that does not exist."""
    first = Path(parent) / name
    number = 2
    path = first
    while path.exists():
        path = first.with_name(f"{name}-{number}")
        number += 1
    return path


def is_run(path: Path) -> bool:
    """Whether a folder is one that a run wrote."""
    return (path / "config.yaml").is_file() and (path / "model.keras").is_file()


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output that exists without `overwrite`, and with it one that is not a run (it would be deleted)."""
    if not output.exists():
        return
    if not overwrite:
        raise ValueError(
            f"The output must not exist yet; choose another --output or pass --overwrite. Received: {str(output)!r}"
        )
    if not output.is_dir() or (any(output.iterdir()) and not is_run(output)):
        raise ValueError(
            f"--overwrite replaces a run folder only, and this is not one; remove it yourself. Received: {str(output)!r}"
        )


@contextlib.contextmanager
def run_folder(output: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield the folder to write into; it becomes `output` when the block ends well, and is removed when it does not."""
    output = Path(output)
    check_output(output, overwrite)
    partial = output.with_name(f".{output.name}.partial")
    made = [parent for parent in partial.parents if not parent.exists()]
    if partial.exists():
        shutil.rmtree(partial)  # what a killed run left
    partial.mkdir(parents=True)
    try:
        yield partial
        check_output(output, overwrite)
        if output.exists():
            shutil.rmtree(output)
        partial.rename(output)
    finally:
        if partial.exists():
            shutil.rmtree(partial)
        for parent in made:  # the nearest first: no empty folders stay behind a run that failed
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
