"""`keras-transfer report` as a function: the report of a run anew, its pictures read again; no TensorFlow, no Keras."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from .opening import SAMPLE, open_data
from .runs import open_run


def report_run(run: str | Path, *, data: str | Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Write the `report.html` of a run anew from its files, and return its path.

    The pictures of the most confident mistakes, and only those, are read again from the data of the run, or from `data`
    where it has moved; where it is gone, the mistakes are listed by name, and `say` gets a line. Raises `ValueError`
    where `run` is no run, its files are damaged, or `data` does not exist.

    Example: `kt.pipeline.report_run("saved_models/flowers")`
    """
    path, config = open_run(run)
    from ..evaluate import write_report

    place = str(data or config["data"])
    if not place.startswith(SAMPLE) and not Path(place).is_dir():
        if data is not None:
            raise ValueError(f"The folder of the run's pictures must exist; check the path. Received: {place!r}")
        say(f"The pictures of the run are not in {place} any more; the report names them only (--data says where).")
        return write_report(path)
    return write_report(path, pictures=_reader(path, config, place))


def _reader(path: Path, config: dict[str, Any], place: str) -> Callable[[int], Any]:
    """What gives the picture of a line of `predictions.csv`, as the model saw it."""
    shape = (*[config["image_size"]] * 2, _channels(path))
    if place.startswith(SAMPLE):
        return open_data({**config, "data": place}, shape).held_out[1].picture
    from ..data.resize import load_picture
    from ..evaluate.predictions import read_predictions

    names = cache(lambda: read_predictions(path / "predictions.csv").names)  # read when it is known to be there
    return lambda index: load_picture(Path(place, _as_file(names()[index])), shape[:2], config["resize"], shape[2])


def _channels(path: Path) -> int:
    """Of the model's pictures; a run of which no export was left has colour."""
    file = path / "io.json"
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["input"]["shape"][-1]) if file.is_file() else 3
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"io.json must be whole; export the run again. Received: {str(file)!r}") from None


def _as_file(name: str) -> str:
    """A name of `predictions.csv` as that of the file: what is no text stands there as `\\udcff`."""
    if "\\udc" not in name:
        return name
    import re

    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda found: chr(int(found[1], 16)), name)
