"""Word vectors as they come: GloVe's and fastText's text files, arrays and dictionaries, a word after the other."""

import gzip
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np


def entries(source: Any) -> Iterator[tuple[str, Any]]:
    """Words with their numbers, out of a file, `(words, array)` or a dictionary."""
    if isinstance(source, Mapping):
        return iter(source.items())
    if isinstance(source, tuple) and len(source) == 2:
        words, array = source
        if np.ndim(array) != 2 or len(words) != len(array):
            raise ValueError(
                f"An array of vectors has a row a word, (words, dim). Received: {len(words)} words, shape {np.shape(array)}"
            )
        return zip(words, array, strict=True)
    if not isinstance(source, (str, Path)):
        raise TypeError(f"`source` must be a file, (words, array) or a dictionary. Received: {type(source).__name__}")
    return _lines(Path(source).expanduser())


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.is_file():
        raise ValueError(f"There must be a file of word vectors. Received: {str(path)!r}")
    if path.suffix in (".bin", ".zip", ".npy", ".magnitude"):
        raise ValueError(
            f"Word vectors are read as text, .txt or .vec, or that as .gz; unpack or convert the file. Received: {str(path)!r}"
        )
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            yield from _parsed(file, path)
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"The file must be a whole .gz ({error}). Received: {str(path)!r}") from error


def _parsed(file: TextIO, path: Path) -> Iterator[tuple[str, Any]]:
    """Words with their numbers as a lazy thing: only those that are wanted are made into numbers."""
    first = file.readline()
    head = first.split()
    told = int(head[0]) if len(head) == 2 and all(one.isdigit() for one in head) else None
    width = int(head[1]) if told is not None else len(head) - 1
    lines = file if told is not None else itertools.chain([first], file)
    if width < 1:
        raise ValueError(f"A line is a word and its numbers. Received: {first[:60]!r} as the first of {str(path)!r}")
    number = 0
    for number, line in enumerate(lines, 1 if told is None else 2):
        if line.strip():
            yield line.partition(" ")[0], _Numbers(line, width, number, path)
    if told is not None and number - 1 < told:
        raise ValueError(
            f"The first line says {told:,} words; the file is cut short. Received: {number - 1:,} words in {str(path)!r}"
        )


class _Numbers:
    """The numbers of one line, parsed when NumPy asks for them."""

    def __init__(self, line: str, width: int, number: int, path: Path) -> None:
        self.line, self.width, self.number, self.path = line, width, number, path

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        parts = self.line.split()[1:]
        try:
            if len(parts) != self.width:
                raise ValueError(f"{len(parts)} numbers")
            return np.array(parts, dtype or "float32")
        except ValueError as error:
            raise ValueError(
                f"Line {self.number} must be a word and {self.width} numbers. Received: {self.line[:60]!r} ({error}) in "
                f"{str(self.path)!r}"
            ) from error
