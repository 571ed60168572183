"""How a data set shows itself: classes by splits, with counts."""

from html import escape
from typing import Any

import numpy as np

SHOWN = 20  # classes in the table; the rest is summed up in a line


def as_text(data: Any) -> str:
    """A small table for the terminal."""
    head, rows, notes = _table(data)
    columns = [[head[i], *(row[i] for row in rows)] for i in range(len(head))]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for name, *counts in [head, *rows]:
        numbers = [count.rjust(width) for count, width in zip(counts, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *numbers]))
    return "\n".join([data.title, *lines, *notes])


def as_html(data: Any) -> str:
    """The same table for a notebook."""
    head, rows, notes = _table(data)
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{escape(data.title)}</div>{table}{below}"


def _table(data: Any) -> tuple[list[str], list[list[str]], list[str]]:
    classes = len(data.class_names)
    counts = np.stack([np.bincount(part.targets(), minlength=classes) for part in data.splits.values()], axis=1)
    rows = [[name, *map(str, counts[i])] for i, name in enumerate(data.class_names[:SHOWN])]
    if classes > SHOWN:
        rows.append([f"({classes - SHOWN} more)", *map(str, counts[SHOWN:].sum(axis=0))])
    rows.append(["total", *map(str, counts.sum(axis=0))])
    notes = [f"skipped: {len(data.skipped)}"] if data.skipped else []
    lengths = getattr(data, "lengths", None)
    notes += str(lengths).split("\n") if lengths is not None else []
    return ["class", *data.splits], rows, notes
