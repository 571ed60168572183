"""`predictions.csv`: a line a picture, with its label, the answer and the probability of every class."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_write
from .metrics import Report, report_from

COLUMNS = ("path", "label", "predicted", "confidence")


def write_predictions(path: str | Path, report: Report) -> Path:
    """Write `path,label,predicted,confidence,p_<class>,...`; labels are names, probabilities have seven digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"p_{name}" for name in report.class_names)])
    for name, target, row in zip(report.names, report.targets, report.probabilities, strict=True):
        best = int(row.argmax())
        figures = [f"{value:.7g}" for value in (row[best], *row)]
        writer.writerow([name, report.class_names[target], report.class_names[best], *figures])
    # A file name need not be text; what is not stands there as \udcff, so that the file stays UTF-8.
    return atomic_write(path, text.getvalue().encode("utf-8", "backslashreplace"))


def read_predictions(path: str | Path, split: str = "given") -> Report:
    """The report that a `predictions.csv` was written from; a `ValueError` where the file is not one."""
    path = Path(path)
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    names = [column.removeprefix("p_") for column in header[4:]]
    expected = [*COLUMNS, *(f"p_{name}" for name in names)]
    if header != expected or not names or not rows or any(len(row) != len(header) for row in rows):
        raise ValueError(
            f"predictions.csv must have the columns {','.join(COLUMNS)},p_<class>... Received: {str(path)!r}"
        )
    index = {name: number for number, name in enumerate(names)}
    if unknown := sorted({row[1] for row in rows} - index.keys()):
        raise ValueError(f"Labels in predictions.csv must be among its classes {names}. Received: {unknown}")
    try:
        probabilities: Any = np.array([[float(value) for value in row[4:]] for row in rows], "float32")
    except ValueError as error:
        raise ValueError(
            f"Probabilities in predictions.csv must be numbers. Received: {str(path)!r}: {error}"
        ) from None
    return report_from(probabilities, [index[row[1]] for row in rows], names, [row[0] for row in rows], split)
