"""`keras-transfer compare`: which strategy, which backbone, on your pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import ImageSize, Json, Level, OnBad
from .quiet import load


def compare(
    data: Annotated[str, typer.Argument(help="Folder with a sub-folder of pictures for each class.")],
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]",
            help="Network to start from, with its weights file; may be given several times. [default: mobilenet_v2]",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="imagenet, or the weights file of a backbone given without one.")
    ] = "imagenet",
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="A row of the table; may be given several times. [default: all: nearest_mean, linear_probe, "
            "feature_extraction, partial, progressive, layerwise, full, scratch]",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="So many runs of each row that has randomness.")] = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="For all rows that train by epochs; by default each row's own.")
    ] = None,
    image_size: ImageSize = None,
    augmentation: Level = "light",
    on_bad: OnBad = "raise",
    export: Annotated[bool, typer.Option(help="Measure bytes and latency of each row's .tflite.")] = True,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for comparison.json and pareto.png; by default saved_models/<data>_comparison."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train every strategy on the same split and seeds; print accuracy beside what it costs.

    A test/ folder judges where there is one; else the validation pictures do, and choose nothing. Frozen features are
    computed once for all rows. A second start goes on with the rows that are missing.

    \b
    Examples:
      keras-transfer compare photos/ --weights mobilenet_v2.weights.h5
      keras-transfer compare photos/ --strategy linear_probe --strategy progressive --seeds 1
      keras-transfer compare photos/ --backbone mobilenet_v2=v2.h5 --backbone mobilenet_0.25=small.h5
    """
    found, _ = load("pipeline").compare_folder(
        data,
        backbones=backbone or ["mobilenet_v2"],
        weights=weights,
        strategies=strategy or None,
        seeds=seeds,
        epochs=epochs,
        image_size=image_size,
        augmentation=augmentation,
        on_bad=on_bad,
        export=export,
        output=output,
        show=None if as_json else True,
        say=(lambda text: None) if as_json else print,
    )
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found)
