"""`keras-transfer compare` as a function: a folder of pictures in, a table, its JSON and its picture out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..backbones.catalog import entry
from ..core.files import temporary_sibling
from .folder import RUNS
from .opening import check_data, data_name, show_data

PICTURE = "pareto.png"


def compare_folder(
    data: str,
    *,
    backbones: Sequence[str] = ("mobilenet_v2",),
    weights: str = "imagenet",
    strategies: Sequence[str] | None = None,
    seeds: int = 3,
    epochs: int | None = None,
    image_size: int | None = None,
    resize: str = "squash",
    augmentation: str = "light",
    validation_fraction: float = 0.2,
    batch_size: int = 32,
    on_bad: str = "raise",
    export: bool = True,
    output: str | Path | None = None,
    show: bool | None = None,
    say: Callable[[str], None] = print,
) -> tuple[Any, Path]:
    """Compare strategies on a folder of pictures: the `Comparison`, and the folder with comparison.json and pareto.png.

    backbones: names, or NAME=FILE with a weights file of its own; epochs: for every strategy that trains by epochs. A
    second start on the same data and settings goes on with the rows that are missing.

    Example: `compare_folder("photos/", backbones=["mobilenet_v2=mobilenet_v2.weights.h5"], seeds=1)`
    """
    check_data(data)
    bases = _bases(backbones, weights)
    size = image_size or entry(next(iter(bases))).image_size
    name = data_name(data, "data")
    folder = Path(output) if output else Path(RUNS) / f"{name}_comparison"
    from ..evaluate import compare
    from ..evaluate.asked import check_strategies
    from ..evaluate.side_by_side import NAME

    check_strategies(strategies, bases)  # before all pictures are read

    config = {"data": data, "resize": resize, "batch_size": batch_size, "seed": 0, "on_bad": on_bad}
    pictures = show_data({**config, "validation_fraction": validation_fraction}, size, show, say)
    found = compare(
        pictures,
        backbone=bases,
        strategies=strategies,
        seeds=seeds,
        settings={"*": {"epochs": epochs}} if epochs else None,
        augmentation=augmentation,
        export=export,
        output=folder,
        title=f"{name}, {', '.join(bases)} at {size}",
        show=show,
    )
    with temporary_sibling(folder / PICTURE) as temporary:
        found.plot().savefig(temporary, dpi=120)
    say(f"-> {folder / NAME}, {folder / PICTURE}")
    return found, folder


def _bases(backbones: Sequence[str], weights: str) -> dict[str, str | None]:
    """Names with their weights, each checked before any picture is read."""
    bases: dict[str, str | None] = {}
    for one in backbones:
        name, given, file = one.partition("=")
        entry(name)
        if name in bases:
            raise ValueError(f"Each backbone stands once. Received: {list(backbones)}")
        chosen = file if given else weights
        if chosen not in ("imagenet", "none") and not Path(chosen).expanduser().is_file():
            raise ValueError(f"The weights file of {name!r} must exist. Received: {chosen!r}")
        bases[name] = None if chosen == "none" else chosen
    return bases
