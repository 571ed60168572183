"""`keras-transfer advise`: which strategy suits your pictures, after a probe of about a minute."""

import json
import sys
from typing import Annotated

import typer

from .options import ImageSize, Json, Level, OnBad
from .quiet import load


def advise(
    data: Annotated[str, typer.Argument(help="Folder with a sub-folder of pictures for each class.")],
    backbone: Annotated[str, typer.Option(help="Pretrained network to start from.")] = "mobilenet_v2",
    weights: Annotated[str, typer.Option(help="imagenet, or a local weights file.")] = "imagenet",
    seconds: Annotated[float, typer.Option(min=1, help="How long the probe may take, about.")] = 60.0,
    image_size: ImageSize = None,
    augmentation: Level = "light",
    on_bad: OnBad = "raise",
    seed: Annotated[int, typer.Option(min=0, help="Of split, folds and draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Recommend a strategy for your pictures, with its evidence, expected accuracy and time; or say that it cannot tell.

    It looks at training and validation pictures only. `compare` measures what this predicts.

    \b
    Examples:
      keras-transfer advise photos/ --weights mobilenet_v2.weights.h5
      keras-transfer advise photos/ --backbone mobilenet_0.25 --weights small.h5 --seconds 120
    """
    found = load("pipeline.advising").advise_folder(
        data,
        backbone=backbone,
        weights=weights,
        seconds=seconds,
        image_size=image_size,
        augmentation=augmentation,
        on_bad=on_bad,
        seed=seed,
        show=False if as_json else None,
        say=_aside,
    )
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found)


def _aside(text: str) -> None:
    """Beside the advice, so that `--json` stays JSON."""
    print(text, file=sys.stderr)
