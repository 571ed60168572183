"""`keras-transfer export`: a run once more as .tflite, with its certificate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .quiet import load


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    precision: Annotated[Literal["float32"], typer.Option(help="Number format of the weights.")] = "float32",
    data: Annotated[
        Path | None, typer.Option(help="Where the pictures of the run are now, if they have moved.")
    ] = None,
) -> None:
    """Write the model of a run as .tflite, and certify that it answers as the model does.

    \b
    Example:
      keras-transfer export saved_models/photos --precision float32
    """
    print(load("pipeline").export_run(run, precision, data=data))
