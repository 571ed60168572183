"""Which column of a table holds the texts, and which the labels: as told, else by their names, else by what is in them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.messages import nearest
from .text_files import Line, Lines

TEXTS = (
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "tweet",
    "question",
    "title",
    "description",
    "body",
    "message",
    "document",
)
FIRST = ("sentence1", "text1", "text_a", "sentence_a", "question1", "premise")
SECOND = ("sentence2", "text2", "text_b", "sentence_b", "question2", "hypothesis")
LABELS = ("label", "labels", "class", "category", "target", "sentiment", "y", "topic", "intent")
NUMBERS = ("id", "idx", "index", "guid", "")
Column = str | int


class Columns(NamedTuple):
    """The places of the text or of both texts, of the label, how many columns there are, whether a header stands first."""

    texts: tuple[int, ...]
    label: int
    width: int
    header: bool


def find_columns(
    table: Lines, text_columns: Column | Sequence[Column] | None, label_column: Column | None, source: str
) -> Columns:
    """The columns of a table; a `ValueError` where they cannot be told."""
    good = [line.cells for line in table.lines if line.cells is not None]
    if not good:
        reason = table.lines[0].reason if table.lines else "it is empty"
        raise ValueError(f"A table of texts must hold a line: {table.name}: {reason}. Received: {source}")
    asked = [text_columns] if isinstance(text_columns, (str, int)) else list(text_columns or ())
    if len(asked) > 2 or (text_columns is not None and not asked):
        raise ValueError(f"`text_columns` must be one column, or two for pairs. Received: {text_columns!r}")
    names = table.columns
    header = False
    if names is None:
        first = [str(cell).strip() for cell in good[0]]
        header = _is_header(first, [*asked, *([label_column] if label_column is not None else [])])
        names = first if header else None
    count = len(names) if names is not None else _usual_width(good)
    place = {name: at for at, name in enumerate(names or ())}
    texts = [_place(one, place, count, table.name, source) for one in asked]
    label = None if label_column is None else _place(label_column, place, count, table.name, source)
    if label is None:
        label = _label(names, [row for row in good[header:] if len(row) == count], texts, count, table.name, source)
    if not texts:
        texts = _texts(names, label, count, table.name, source)
    taken = [names[at] for at in (*texts, label)] if names is not None else []
    if twice := next((name for name in taken if names is not None and names.count(name) > 1), None):
        raise ValueError(f"{table.name} has several columns {twice!r}; rename all but one. Received: columns {names}")
    if label in texts or len(set(texts)) < len(texts):
        raise ValueError(f"Text and label must be different columns. Received: columns {texts} and {label} of {source}")
    return Columns(tuple(texts), label, count, header)


def named_columns(table: Lines, columns: Columns) -> tuple[list[Column], Column]:
    """The same columns as another table is asked for them: by name where there are names, else by number."""
    names: Sequence[Any] | None = table.columns
    if names is None and columns.header:
        first = next(line.cells for line in table.lines if line.cells is not None)
        names = [str(cell).strip() for cell in first]
    if names is None:
        return list(columns.texts), columns.label
    return [names[at] for at in columns.texts], names[columns.label]


def broken(line: Line, columns: Columns) -> str | None:
    """Why a line is no example; None for a good one."""
    if line.cells is None:
        return line.reason
    if len(line.cells) != columns.width:
        return f"it has {len(line.cells)} columns, not {columns.width}"
    for at in columns.texts:
        cell = line.cells[at]
        if not isinstance(cell, str):
            return "it has no text" if cell is None else f"its text is {type(cell).__name__}, not text"
        if not cell.strip():
            return "its text is empty"
        if not is_text(cell):
            return "its text holds half a character (a lone surrogate)"
    label = line.cells[columns.label]
    if isinstance(label, float) and not math.isfinite(label):
        return f"its label is no number ({label})"
    if not isinstance(label, (str, int, float)) or not str(label).strip():
        return "it has no label"
    return None if str(label).strip().isprintable() else "its label holds a character that cannot be printed"


def check_no_header(table: Lines, columns: Columns) -> None:
    """Refuse a first line that is read as an example and names the columns: its label stands nowhere else, others do."""
    cells = [line.cells for line in table.lines if line.cells is not None and len(line.cells) == columns.width]
    if table.columns is not None or columns.header or not cells:
        return
    first, *others = (str(row[columns.label]).strip() for row in cells)
    counts = Counter(others)
    if first not in counts and counts and min(counts.values()) > 1:
        raise ValueError(
            f"The first line of {table.name} seems to name the columns, for no other has the label {first!r}; say so with "
            f"`text_columns` and `label_column`, or move it down if it is an example. Received: {cells[0]}"
        )


def is_text(cell: Any) -> bool:
    """Whether it is a text that is not empty, and can be written as UTF-8."""
    if not isinstance(cell, str) or not cell.strip():
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_header(first: list[str], asked: Sequence[Column]) -> bool:
    """Whether the first line names the columns: those that are asked for by name, else a known text and a known label."""
    named = [one for one in asked if isinstance(one, str)]
    if named:
        return True
    words = {cell.lower() for cell in first}
    return bool(words & set(LABELS)) and bool(words & {*TEXTS, *FIRST, *SECOND})


def _usual_width(rows: list[list[Any]]) -> int:
    widths = [len(row) for row in rows]
    return max(set(widths), key=lambda width: (widths.count(width), -width))


def _place(column: Column, place: dict[str, int], count: int, name: str, source: str) -> int:
    if isinstance(column, bool) or not isinstance(column, (str, int)):
        raise TypeError(f"A column is a name or a number from 0. Received: {column!r}")
    if isinstance(column, int):
        if not 0 <= column < count:
            raise ValueError(f"{name} has {count} columns, 0 to {count - 1}. Received: column {column} of {source}")
        return column
    if column not in place:
        raise ValueError(f"{name} has no such column. {nearest(column, place)} Received: {column!r} for {source}")
    return place[column]


def _label(names: list[str] | None, rows: list[list[Any]], texts: list[int], count: int, name: str, source: str) -> int:
    if count < 2:
        raise ValueError(
            f"A table of texts has a text and a label in each line, {name} has one column; name its `delimiter` (--delimiter), "
            f"or save it as its ending says. Received: {source}"
        )
    if names is not None:
        found = [at for at, word in enumerate(names) if word.lower() in LABELS and at not in texts]
        rest = [at for at, word in enumerate(names) if at not in texts and word.lower() not in NUMBERS]
        if len(found) == 1 or (texts and len(rest) == 1):
            return found[0] if len(found) == 1 else rest[0]
        raise ValueError(
            f"{name} does not say which column is the label; name `label_column`. Received: columns {names}"
        )
    rest = [at for at in range(count) if at not in texts]
    if count > 3 and len(rest) != 1:
        raise ValueError(
            f"{name} has {count} columns and no header; name `text_columns` and `label_column` by their numbers from 0. "
            f"Received: {source}"
        )
    different = {at: len({str(row[at]) for row in rows}) for at in rest}
    return min(rest, key=lambda at: (different[at], sum(len(str(row[at])) for row in rows)))


def _texts(names: list[str] | None, label: int, count: int, name: str, source: str) -> list[int]:
    rest = [at for at in range(count) if at != label]
    if names is None:
        return rest  # at most two: `_label` has seen to it
    lower = [word.lower() for word in names]
    pair = [next((lower.index(word) for word in words if word in lower), None) for words in (FIRST, SECOND)]
    if all(at is not None and at != label for at in pair):
        return [at for at in pair if at is not None]
    several = [word for at, word in enumerate(names) if at != label and lower[at] in TEXTS]
    if len({word.lower() for word in several}) > 1:
        raise ValueError(
            f"{name} has several columns of texts; name `text_columns`, one or two. Received: columns {several}"
        )
    if several:
        return [names.index(several[0])]
    rest = [at for at in rest if lower[at] not in NUMBERS]
    if len(rest) == 1:
        return rest
    raise ValueError(f"{name} does not say which column is the text; name `text_columns`. Received: columns {names}")
