"""`keras-transfer export`: a run once more as .tflite, with its certificate."""

from pathlib import Path
from typing import Annotated

import typer

from ..export.precisions import PRECISIONS, check_precision
from .quiet import load


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar=f"<{'|'.join(PRECISIONS)}>",
            help="Number format of the weights; may be given several times. By default float32.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Instead: the best precision of at most so many bytes, as 2MB or 500kB."),
    ] = None,
    accuracy_drop: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --target: how far the accuracy may fall.  [default: 0.01]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the pictures of the run are now, if they have moved.")
    ] = None,
) -> None:
    """Write the model of a run as .tflite, and certify that it answers as the model does.

    int8 is calibrated on the training pictures of the run. --target tries all precisions and shows what it tried.

    \b
    Examples:
      keras-transfer export saved_models/photos --precision float16 --precision int8
      keras-transfer export saved_models/photos --target 2MB --accuracy-drop 0.01
    """
    if target is None:
        if accuracy_drop is not None:
            raise ValueError(f"--accuracy-drop goes with --target. Received: --accuracy-drop {accuracy_drop} alone")
        for one in precision or ():  # before TensorFlow starts
            check_precision(one)
        load("pipeline").export_run(run, precision or ["float32"], data=data, say=print)
        return
    if precision:
        raise ValueError(
            f"--target chooses the precision; give one of the two. Received: --target {target} --precision {precision[0]}"
        )
    drop = 0.01 if accuracy_drop is None else accuracy_drop
    print(load("pipeline").compress_run(run, target, accuracy_drop=drop, data=data))
