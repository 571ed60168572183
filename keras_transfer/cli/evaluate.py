"""`keras-transfer evaluate`: a run on other pictures."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .quiet import load


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[
        Path,
        typer.Argument(help="Folder with a sub-folder of pictures for each class of the run, or a table of texts."),
    ],
    on_bad: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at unreadable pictures, or skip them.")
    ] = "raise",
    delimiter: Annotated[
        str | None,
        typer.Option(help="What separates the columns of a table, such as ';' or tab; by default as in the run."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a run on other labelled pictures or texts: accuracy, macro F1, and each class.

    \b
    Example:
      keras-transfer evaluate saved_models/photos new_photos/
    """
    split, report = load("pipeline").evaluate_run(run, data, on_bad=on_bad, delimiter=delimiter, say=_aside)
    figures = {"split": split, **report.to_dict()}
    print(json.dumps(figures, indent=2, ensure_ascii=False) if as_json else f"split: {split}\n{report}")


def _aside(text: str) -> None:
    """Beside the figures, so that `--json` stays JSON."""
    print(text, file=sys.stderr)
