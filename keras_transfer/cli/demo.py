"""`keras-transfer demo`: transfer learning on real handwriting, with nothing to download."""

from pathlib import Path
from typing import Annotated

import typer

from .quiet import load


def demo(
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default saved_models/demo, or the next free number.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Watch transfer learning work: from printed letters to handwritten digits, ten labels a digit.

    Nothing is downloaded. It takes a minute or two, prints a table, and leaves a whole run folder behind.
    """
    load("demo").run_demo(output=output, quiet=quiet)
