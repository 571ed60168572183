"""`keras-transfer report` as a function: the report of a run anew, its samples read again; no TensorFlow, no Keras."""

from collections.abc import Callable
from pathlib import Path

from .opening import SAMPLE
from .runs import open_run
from .tasks import task_of


def report_run(run: str | Path, *, data: str | Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Write the `report.html` of a run anew from its files, and return its path.

    The pictures (or texts) of the most confident mistakes, and only those, are read again from the data of the run, or from `data`
    where it has moved; where it is gone, the mistakes are listed by name, and `say` gets a line. Raises `ValueError`
    where `run` is no run, its files are damaged, or `data` does not exist.

    Example: `kt.pipeline.report_run("saved_models/flowers")`
    """
    path, config = open_run(run)
    from ..evaluate import write_report

    place, task = str(data or config["data"]), task_of(config)
    if not place.startswith(SAMPLE) and not Path(place).exists():
        if data is not None:
            raise ValueError(f"The {task.NOUN}s of the run must exist; check the path. Received: {place!r}")
        say(f"The {task.NOUN}s of the run are not in {place} any more; the report names them only (--data says where).")
        return write_report(path)
    return write_report(path, samples=task.reader(path, config, place))
