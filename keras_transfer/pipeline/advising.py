"""`keras-transfer advise` as a function: a folder of pictures in, a recommendation out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..backbones.catalog import entry
from .opening import check_data, show_data


def advise_folder(
    data: str,
    *,
    backbone: str = "mobilenet_v2",
    weights: str = "imagenet",
    image_size: int | None = None,
    resize: str = "squash",
    augmentation: str = "light",
    validation_fraction: float = 0.2,
    batch_size: int = 32,
    seed: int = 0,
    on_bad: str = "raise",
    seconds: float = 60.0,
    show: bool | None = None,
    say: Callable[[str], None] = print,
) -> Any:
    """The `Advice` for a folder of pictures (or `sample:digits`) and a backbone; pictures and options as in `fit`.

    Example: `print(advise_folder("photos/", weights="mobilenet_v2.weights.h5"))`
    """
    check_data(data)
    size = image_size or entry(backbone).image_size
    if weights != "imagenet" and not Path(weights).expanduser().is_file():
        raise ValueError(
            f"`weights` must be imagenet or a weights file that exists; there is no advice without. Received: {weights!r}"
        )
    from ..evaluate import advise

    config = {"data": data, "resize": resize, "batch_size": batch_size, "seed": seed, "on_bad": on_bad}
    pictures = show_data({**config, "validation_fraction": validation_fraction}, size, show, say)
    return advise(
        pictures,
        backbone=backbone,
        weights=weights,
        augmentation=augmentation,
        seconds=seconds,
        seed=seed,
        show=show,
    )
