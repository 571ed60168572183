"""Runs on pictures: a folder, or a data set that scikit-learn carries, into a classifier of pictures."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..backbones.catalog import entry
from ..config import RunConfig
from .opening import SAMPLE, check_weights, open_data

NOUN = "picture"


def resolve(config: RunConfig) -> dict[str, Any]:
    """The size of the pictures; a weights file that cannot be read is refused."""
    if config.weights not in ("none", "imagenet"):
        check_weights(Path(config.weights), "imagenet")
    return {"image_size": config.image_size or entry(config.backbone).image_size}


def read(config: Mapping[str, Any], show_progress: bool | None = None) -> Any:
    """The pictures that a resolved config names, as `ImageData`; a folder of texts is told from one that is broken."""
    try:
        return open_data(config, (*[config["image_size"]] * 2, config["channels"]), show_progress)
    except ValueError as error:
        from ..data.text_files import holds_texts

        if holds_texts(Path(config["data"])):
            raise ValueError(f"{error}\nThe folder holds texts: give --task text (task: text).") from None
        raise


def read_for(config: Mapping[str, Any], model: Any) -> Any:
    """The pictures for a model that is there."""
    return open_data(config, model.input_shape[1:])


def describe(config: RunConfig, data: Any) -> tuple[str, str]:
    """Size, augmentation and mixing."""
    views = config.augmentation != "none" and config.strategy != "full" and config.mix == "none"
    many, mix = f" with {config.views} views" if views else "", "" if config.mix == "none" else f", {config.mix}"
    return f"at {config.image_size} ({config.resize})", f"augmentation {config.augmentation}{many}{mix}, "


def build(config: RunConfig, data: Any) -> Any:
    """`build_classifier` for the pictures."""
    from ..backbones import build_classifier

    return build_classifier(
        config.backbone,
        len(data.class_names),
        weights=None if config.weights == "none" else config.weights,
        input_shape=(*data.image_size, data.channels),
        augmentation=config.augmentation,
    )


def train(config: RunConfig, model: Any, data: Any, settings: dict[str, Any]) -> Any:
    """Fit by the strategy."""
    from .named import strategy_of

    return strategy_of(str(config.strategy))(model, data, **settings)


def ready(data: Any, model: Any) -> Any:
    """The data as the model takes it: as they are."""
    return data


def finish(config: RunConfig, model: Any, folder: Path) -> Any:
    """The model to write, as it is."""
    return model


def settings(config: RunConfig) -> dict[str, Any]:
    """Views, and what mixes the pictures."""
    return {"views": config.views, **({} if config.mix == "none" else {"mix": config.mix})}


def sample(split: Any) -> Callable[[int], Any]:
    """The picture at an index, uint8."""
    return split.picture


def reader(run: Path, config: Mapping[str, Any], place: str) -> Callable[[int], Any]:
    """What gives the picture of a line of `predictions.csv`, as the model saw it."""
    shape = (*[config["image_size"]] * 2, _channels(run))
    if place.startswith(SAMPLE):
        return open_data({**config, "data": place}, shape).held_out[1].picture
    from ..data.resize import load_picture
    from ..evaluate.predictions import read_predictions

    names = cache(lambda: read_predictions(run / "predictions.csv").names)  # read when it is known to be there
    return lambda index: load_picture(Path(place, as_file(names()[index])), shape[:2], config["resize"], shape[2])


def labelled(
    config: Mapping[str, Any], model: Any, data: str | Path, names: Sequence[str], on_bad: str, show: bool | None
) -> tuple[str, Any, Sequence[tuple[str, str]]]:
    """A folder of pictures with the classes of the run."""
    from ..data.labelled import load_labelled

    _, height, width, channels = model.input_shape
    size = {"image_size": (height, width), "resize": config["resize"], "channels": channels}
    return load_labelled(data, names, on_bad=on_bad, show_progress=show, **size)


def as_file(name: str) -> str:
    """A name of `predictions.csv` as that of the file: what is no text stands there as `\\udcff`."""
    if "\\udc" not in name:
        return name
    import re

    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda found: chr(int(found[1], 16)), name)


def _channels(path: Path) -> int:
    """Of the model's pictures; a run of which no export was left has colour."""
    file = path / "io.json"
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["input"]["shape"][-1]) if file.is_file() else 3
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"io.json must be whole; export the run again. Received: {str(file)!r}") from None
