"""The pictures that a config names: a folder, or a data set that scikit-learn carries (`sample:digits`)."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.tasks import TEXT_FILES

SAMPLE = "sample:"


def check_data(data: str) -> None:
    """A `ValueError` where there is no such folder, before anything heavy is loaded."""
    if not data.startswith(SAMPLE) and not Path(data).exists():
        raise ValueError(f"The data must exist; check the path. Received: {data!r}")


def check_weights(path: Path, otherwise: str) -> None:
    """A weights file that cannot be read is named before the pictures are; whether it fits, only the backbone can tell."""
    import h5py

    path = path.expanduser()
    if not path.exists():
        raise ValueError(f"`weights` must be {otherwise!r}, 'none' or an .h5 file that exists. Received: {str(path)!r}")
    if path.is_file() and path.suffix != ".keras" and h5py.is_hdf5(path):
        try:
            h5py.File(path).close()
            return
        except OSError:  # cut short
            pass
    from ..backbones.h5 import read

    read(path)


def data_name(data: str, otherwise: str) -> str:
    """What a run or a comparison on this data is called by default: `reviews` of reviews.tsv.gz."""
    name = Path(data).resolve().name.removeprefix(SAMPLE)
    ending = next((one for one in sorted(TEXT_FILES, key=len, reverse=True) if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)] or otherwise


def tell_skipped(skipped: Sequence[tuple[str, str]], say: Callable[[str], None]) -> None:
    """Name every file that was left out, with its reason, and count them."""
    for path, reason in skipped:
        say(f"skipped {path}: {reason}")
    if skipped:
        say(f"skipped {len(skipped)} in all")


def tell_findings(scan: Any, data: str, say: Callable[[str], None]) -> None:
    """A line for each warning of the scan, before an hour is lost on it."""
    if scan is None or not scan.warnings:
        return
    for finding in scan.warnings:
        say(f"warning: {finding.text}")
    if not data.startswith(SAMPLE):
        say(f"(keras-transfer scan {shlex.quote(data)} lists the files.)")


def open_data(config: Mapping[str, Any], input_shape: Sequence[int], show_progress: bool | None = None) -> Any:
    """Read what `config["data"]` names as `ImageData` for a model with pictures of `input_shape` (height, width, channels)."""
    from ..data import load_images
    from ..data.samples import sample

    height, width, channels = input_shape
    common = {
        "image_size": (height, width),
        "resize": config["resize"],
        "batch_size": config["batch_size"],
        "seed": config["seed"],
    }
    name = str(config["data"])
    if name.startswith(SAMPLE):
        return sample(name.removeprefix(SAMPLE), **common)
    return load_images(
        name,
        channels=channels,
        validation_fraction=config["validation_fraction"],
        on_bad=config["on_bad"],
        show_progress=show_progress,
        **common,
    )


def show_data(config: Mapping[str, Any], size: int, show: bool | None, say: Callable[[str], None]) -> Any:
    """`open_data` in colour at one size, and what was read, told."""
    pictures = open_data(config, (size, size, 3), show_progress=show)
    tell_skipped(pictures.skipped, say)
    say(repr(pictures))
    return pictures
