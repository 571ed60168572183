"""Rows of texts with labels, from tables, folders of .txt files, or lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .assemble import check_class_names
from .folders import SPLIT_FOLDERS, SPLITS, read_folder
from .reading import bulleted
from .text_columns import Column, Columns, broken, check_no_header, find_columns, is_text, named_columns
from .text_files import Lines, decoded, is_table, read_lines, stem
from .texts import Text

WORDS = {**SPLIT_FOLDERS, "dev": "validation"}


@dataclass
class Rows:
    """A row an example: name, text (or two), label as it stands there, split (None: not given); and what is bad."""

    source: str
    names: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    class_names: tuple[str, ...] | None = None

    def add(self, name: str, text: Text, label: str, split: str | None) -> None:
        """One good example."""
        self.names.append(name)
        self.texts.append(text)
        self.labels.append(label)
        self.splits.append(split)


def read_texts(
    path: str | Path | Mapping[str, str | Path], text_columns: Column | Sequence[Column] | None,
    label_column: Column | None, delimiter: str | None, class_names: Sequence[str] | None, *, skip: bool,
    least_classes: int = 2,
) -> Rows:  # fmt: skip
    """The rows of whatever `path` names; what is broken is refused, or skipped and named."""
    rows = Rows(repr(str(path) if not isinstance(path, Mapping) else {k: str(v) for k, v in path.items()}))
    rows.class_names = None if class_names is None else check_class_names(class_names)
    files = _files(path)
    if files is None:
        given = {"text_columns": text_columns, "label_column": label_column, "delimiter": delimiter}
        if named := [f"{name}={value!r}" for name, value in given.items() if value is not None]:
            raise ValueError(
                f"A folder of .txt files has no columns; leave them out. Received: {', '.join(named)} for {rows.source}"
            )
        _read_folder(Path(path), rows, least_classes)  # type: ignore[arg-type]
    else:
        for split, file in files.items():
            table = read_lines(file, delimiter)
            # What was found in the first table holds for all: a small one could be understood otherwise.
            columns = find_columns(table, text_columns, label_column, rows.source)
            if least_classes > 1:
                check_no_header(table, columns)
            text_columns, label_column = named_columns(table, columns)
            _read_table(table, rows, split if len(files) > 1 else None, columns)
    if rows.bad and not skip:
        raise ValueError(
            f"Examples that cannot be read: {len(rows.bad)}. Mend or remove them, or leave them out with --on-bad skip "
            f"(on_bad='skip').\n{bulleted([f'{name}: {reason}' for name, reason in rows.bad])}\nReceived: {rows.source}"
        )
    return rows


def has_columns(path: str | Path) -> bool:
    """Whether the texts are in tables, not files of their own."""
    return _files(path) is not None


def from_lists(parts: dict[str, Any], class_names: Sequence[str] | None) -> Rows:
    """The rows of texts and labels that are there as lists or arrays."""
    for split, pair in parts.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"`{split}` must be a pair (texts, labels). Received: {type(pair).__name__}")
    rows = Rows(f"lists of {sum(len(_plain(texts)) for texts, _ in parts.values())} texts")
    rows.class_names = None if class_names is None else check_class_names(class_names)
    for split, pair in parts.items():
        texts, labels = _plain(pair[0]), np.asarray(pair[1])
        if labels.ndim == 2 and labels.shape[1] > 1:
            labels = labels.argmax(axis=1)
        labels = labels.reshape(-1)
        if len(labels) != len(texts) or labels.dtype.kind not in "iubUOS":
            raise ValueError(
                f"y of {split} must have a label for each of {len(texts)} texts: whole numbers, one-hot rows or names. "
                f"Received: {labels.dtype} of shape {np.shape(pair[1])}"
            )
        for at, (text, label) in enumerate(zip(texts, labels.tolist(), strict=True)):
            if label is None or label != label or label in ("", b""):  # a NaN is not itself
                raise ValueError(f"Each text must have a label. Received: {label!r} at {at} of {split}")
            label = label.decode() if isinstance(label, bytes) else label
            several = isinstance(text, (tuple, list))
            words = [text] if not several else list(text)
            if len(words) not in (1, 2) or not all(is_text(word) for word in words):
                raise ValueError(
                    f"x of {split} must hold texts, or pairs of them, that are not empty. Received: {text!r} at {at}"[
                        :300
                    ]
                )
            rows.add(
                f"{split}[{at}]", tuple(words) if several else words[0], str(label), split if len(parts) > 1 else None
            )  # type: ignore[arg-type]
    return rows


def _files(path: str | Path | Mapping[str, str | Path]) -> dict[str, Path] | None:
    """The table of each split; None for a folder of text files."""
    if isinstance(path, Mapping):
        found = {WORDS.get(str(word).lower(), ""): Path(file).expanduser() for word, file in path.items()}
        if "" in found or "train" not in found or len(found) < len(path):
            raise ValueError(
                f"The files must be named by 'train', 'validation' and 'test', train among them. Received: {list(path)}"
            )
        for file in found.values():
            _must_exist(file)
        return {split: found[split] for split in SPLITS if split in found}
    root = Path(path).expanduser()
    _must_exist(root)
    if not root.is_dir():
        return {"train": root}
    tables = sorted(file for file in root.iterdir() if is_table(file))
    if not tables:
        return None
    by_split: dict[str, Path] = {}
    for file in tables:
        split = WORDS.get(stem(file).lower())
        if split is None or split in by_split:
            raise ValueError(
                "A folder of tables has train.tsv and at most val.tsv and test.tsv beside it; pass the file, or a dict "
                f"{{'train': ..., 'validation': ...}}. Received: {str(path)!r} with {[one.name for one in tables][:8]}"
            )
        by_split[split] = file
    if "train" not in by_split:
        raise ValueError(f"A folder of tables needs a train table. Received: {str(path)!r} with {list(by_split)}")
    return {split: by_split[split] for split in SPLITS if split in by_split}


def _must_exist(file: Path) -> None:
    if not file.exists():
        raise ValueError(f"The texts must exist; check the path. Received: {str(file)!r}")


def _read_table(table: Lines, rows: Rows, split: str | None, columns: Columns) -> None:
    header = columns.header
    for line in table.lines:
        name = f"{table.name}:{line.number}"
        if header and line.cells is not None:
            header = False
            continue
        reason = broken(line, columns)
        if reason is not None:
            rows.bad.append((name, reason))
            continue
        assert line.cells is not None
        words = tuple(line.cells[at] for at in columns.texts)
        rows.add(name, words[0] if len(words) == 1 else words, _label(line.cells[columns.label]), split)  # type: ignore[arg-type]


def _read_folder(root: Path, rows: Rows, least_classes: int) -> None:
    try:
        folder = read_folder(root, least_classes)
    except ValueError as error:
        said, received, rest = str(error).partition("Received:")
        raise ValueError(said.replace("picture", "text") + received + rest) from None
    for path, name, label, split in zip(folder.paths, folder.names, folder.labels, folder.splits, strict=True):
        if path.suffix.lower() != ".txt":
            rows.bad.append((name, "it is no .txt file"))
            continue
        text = decoded(path)
        if text.strip():
            rows.add(name, text, folder.class_names[label], split)
        else:
            rows.bad.append((name, "its text is empty"))


def _plain(texts: Any) -> list[Any]:
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        raise TypeError(f"Texts must come as a list or an array of strings. Received: {type(texts).__name__}")
    return [
        one.decode() if isinstance(one, bytes) else one
        for one in (texts.tolist() if hasattr(texts, "tolist") else texts)
    ]


def _label(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()
