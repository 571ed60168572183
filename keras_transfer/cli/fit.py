"""`keras-transfer fit`: a folder of photos or a table of texts in, a run folder out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import make_config, read_config
from .options import with_run_options
from .quiet import load


@with_run_options
def fit(
    data: Annotated[
        str | None, typer.Argument(help="Folder with a sub-folder of pictures for each class, or a table of texts.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options; those given here win over it.")] = None,
    **given: Any,
) -> None:
    """Train a classifier on photos or texts; write model, .tflite with its certificate, metrics and report.

    photos/ with photos/cat/*.jpg and photos/dog/*.jpg is all it needs, or a .tsv, .csv or .jsonl file with a text and a label
    a line. Exit code: 0 done, 1 failed or below
    --min-accuracy, 2 bad input, 130 interrupted.

    \b
    Examples:
      keras-transfer fit photos/
      keras-transfer fit photos/ --weights mobilenet_v2.weights.h5     without the internet
      keras-transfer fit photos/ --strategy feature_extraction         the head alone, in a minute
      keras-transfer fit reviews.tsv --method lora                     a fraction of the weights
      keras-transfer fit photos/ --resume                              go on with an interrupted run
      keras-transfer fit --config saved_models/photos/config.yaml --output again
    """
    given = given if data is None else {"data": data, **given}
    settings = read_config(config, given) if config else make_config(given)
    summary = load("pipeline").fit(settings)
    if not settings.quiet:
        figures = f"accuracy {summary.accuracy:.4f}, macro F1 {summary.macro_f1:.4f}"
        print(
            f"{figures} on {summary.samples} {summary.split} {summary.noun}, in {summary.seconds:.0f} s -> {summary.path}"
        )
