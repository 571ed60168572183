"""A progress bar for long work: on a terminal or in Jupyter, and nowhere else."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def in_jupyter() -> bool:
    """Whether this process is a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    return bool(shell and getattr(shell.get_ipython(), "kernel", None))


def on_terminal(stream: Any = None) -> bool:
    """Whether a person watches `stream` (stderr by default): a terminal or a notebook."""
    stream = sys.stderr if stream is None else stream
    return bool(stream and stream.isatty()) or in_jupyter()


def progress(items: Iterable[T], *, total: int, text: str, show: bool | None = None) -> Iterator[T]:
    """Iterate over `items` with a bar; `show=None` shows it only where a person watches."""
    if not (on_terminal() if show is None else show):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=text, total=total, console=Console(stderr=True), transient=True)
