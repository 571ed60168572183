"""`keras-transfer report`: the page of a run, written anew."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[
        Path | None, typer.Option(help="Where the pictures of the run are now, if they have moved.")
    ] = None,
) -> None:
    """Write the report.html of a run anew, with the pictures that it gets wrong.

    One page that needs no network: curves, mistakes, calibration, certificates, what was found in the data.

    \b
    Example:
      keras-transfer report saved_models/photos
    """
    from .. import pipeline

    print(pipeline.report_run(run, data=data, say=lambda text: print(text, file=sys.stderr)))
