"""Tables of texts: TSV, CSV and JSON lines, packed or not, line by line, so that a broken one is named by its number."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .resize import is_picture

ENDINGS = {".tsv": "\t", ".csv": ",", ".jsonl": None, ".ndjson": None}
SIGNS = (";", "\t", ",", "|")  # what else may stand between columns
NEARLY_ALL = 0.9
Cells = dict[str, Any]  # the name of a column, or its number from 0 where there is no header, to what stands there


@dataclass(frozen=True)
class Line:
    """One line of a table: its number from 1, and its cells; or why it cannot be read."""

    number: int
    cells: list[Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Lines:
    """A table as it was read: column names where it has some (JSON lines always), and its lines."""

    name: str
    columns: list[str] | None
    lines: list[Line]


def is_table(path: Path) -> bool:
    """Whether the name is that of a table of texts."""
    return _ending(path) in ENDINGS and path.is_file() and not path.name.startswith(".")


def stem(path: Path) -> str:
    """The name without its endings: `train` of `train.tsv.gz`."""
    return _unpacked(path).rpartition(".")[0]


def holds_texts(folder: Path) -> bool:
    """Whether a folder holds tables or .txt files, and no picture."""
    files = [file for file in folder.rglob("*") if not file.name.startswith(".")] if folder.is_dir() else []
    return any(is_table(file) or file.suffix.lower() == ".txt" for file in files) and not any(map(is_picture, files))


def read_lines(path: Path, delimiter: str | None = None) -> Lines:
    """Read a table; `delimiter` in place of the one that its ending says, JSON lines have none. `columns` is left open where
    cells are.
    """
    ending = _ending(path)
    if ending not in ENDINGS and delimiter is None:
        raise ValueError(
            f"A table of texts ends in {', '.join(ENDINGS)}, with .gz or without; name the `delimiter` of another. "
            f"Received: {str(path)!r}"
        )
    text = decoded(path)
    if ENDINGS.get(ending, "") is None:
        return _json_lines(path.name, text)
    if delimiter is None:
        delimiter = str(ENDINGS[ending])
        _check_delimiter(path, text, delimiter)
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"`delimiter` must be one character, no quote and no end of line. Received: {delimiter!r}")
    return Lines(path.name, None, list(_rows(text, delimiter)))


def decoded(path: Path) -> str:
    """The text of a file, unpacked where it is; what is not UTF-8 is a `ValueError` with the line."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"The file must be a whole .gz; fetch it again ({error}). Received: {str(path)!r}") from None
    except OSError as error:
        raise ValueError(f"The file cannot be read: {error.strerror}. Received: {str(path)!r}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"Texts must be UTF-8; save the file so. Received: {str(path)!r}, whose line {line} holds the byte "
            f"0x{content[error.start]:02x}"
        ) from None


def _check_delimiter(path: Path, text: str, delimiter: str) -> None:
    """A `ValueError` where the first line lacks what its ending says, and something else stands in it and in nearly all."""
    lines = [line for line in text.split("\n") if line.strip()]
    first = lines[0] if lines else delimiter

    def in_nearly_all(sign: str) -> bool:
        return sum(sign in line for line in lines[1:]) >= NEARLY_ALL * len(lines[1:])

    if delimiter in first or (delimiter == "\t" and in_nearly_all(delimiter)):  # no text holds a tab, many hold commas
        return
    for sign in SIGNS:
        if sign in first and in_nearly_all(sign):
            shown = "tab" if sign == "\t" else f"'{sign}'"
            raise ValueError(
                f"The columns of {path.name} are not separated by {delimiter!r}, as its ending says, but it seems by {sign!r}; "
                f"name it: delimiter={sign!r} (--delimiter {shown}). Received: {str(path)!r}"
            )


def _rows(text: str, delimiter: str) -> Iterator[Line]:
    """The lines of a table; quotes mean something in CSV only, because those of a TSV belong to its texts."""
    if delimiter == "\t":
        for number, line in enumerate(text.split("\n"), 1):
            line = line.removesuffix("\r")
            if line.strip():
                yield Line(number, line.split("\t"))
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, reason=f"it is no CSV ({error})")
            continue
        if any(cell.strip() for cell in cells):
            yield Line(number, cells)


def _json_lines(name: str, text: str) -> Lines:
    columns: dict[str, None] = {}
    objects: list[tuple[int, dict[str, Any] | str]] = []  # or why it is none
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                objects.append((number, f"it is no JSON ({error.msg} at character {error.pos + 1})"))
            except RecursionError:
                objects.append((number, "it is nested too deeply"))
            except ValueError:  # Python reads no more digits
                objects.append((number, "it holds a number of thousands of digits"))
            else:
                objects.append((number, found if isinstance(found, dict) else "it is no JSON object"))
    for _, found in objects:
        if isinstance(found, dict):
            columns.update(dict.fromkeys(found))
    lines = [
        Line(number, [found.get(key) for key in columns]) if isinstance(found, dict) else Line(number, reason=found)
        for number, found in objects
    ]
    return Lines(name, list(columns), lines)


def _ending(path: Path) -> str:
    return Path(_unpacked(path).lower()).suffix


def _unpacked(path: Path) -> str:
    """The name without its .gz."""
    return path.name[:-3] if path.name.lower().endswith(".gz") else path.name
