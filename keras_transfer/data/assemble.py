"""From a table of pictures (or texts) to splits: none under two labels or in two splits, and a validation part in any case."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .duplicates import PICTURE, across_splits, equal_pictures, refuse_across_splits, refuse_two_labels
from .folders import SPLITS
from .pictures import Pictures, Pixels
from .split import choose_validation


@dataclass
class Table:
    """A row a picture: name, label, split (None: not given), digest of its pixels, key of its file; what is skipped."""

    class_names: tuple[str, ...]
    names: list[str]
    labels: list[int]
    splits: list[str | None]
    digests: list[bytes]
    keys: list[bytes]
    source: str  # what stands after "Received:"
    skipped: dict[int, str] = field(default_factory=dict)
    what: str = PICTURE  # what a row is, and when two are the same
    order: Sequence[str] | None = None  # what the split is drawn by, instead of the names

    @property
    def noun(self) -> str:
        """What a row is, in a word."""
        return self.what.partition(" ")[0]

    def rows(self) -> list[int]:
        """The rows in use."""
        return [row for row in range(len(self.names)) if row not in self.skipped]

    def named_skips(self) -> list[tuple[str, str]]:
        """What was skipped, by name, with the reason."""
        return [(readable(self.names[row]), reason) for row, reason in sorted(self.skipped.items())]


def settle(table: Table, *, fraction: float, seed: int, skip: bool) -> None:
    """Refuse or drop duplicates, and give every row a split; without a validation split a part of train becomes one."""
    named = [readable(name) for name in table.names]
    groups = equal_pictures(table.digests, table.rows())
    refuse_two_labels(groups, table.labels, named, table.source, table.what)
    drop = across_splits(groups, table.splits)
    if not skip:
        refuse_across_splits(drop, named, table.source, table.what)
    table.skipped.update({row: f"the same {table.noun} as {named[keeper]}" for row, keeper in drop.items()})
    _refuse_emptied(table)
    if "validation" not in table.splits:
        train = [row for row in table.rows() if table.splits[row] != "test"]
        groups = equal_pictures(table.digests, train)
        held_out = choose_validation(groups, table.labels, table.order or table.names, fraction, seed)
        if not held_out:
            raise ValueError(
                f"No class has two different {table.noun}s, so none can be held out for validation; add {table.noun}s or a "
                f"val split. Received: {table.source}"
            )
        for row in train:
            table.splits[row] = "validation" if row in held_out else "train"


def make_splits(table: Table, pixels: Pixels, *, one_hot: bool, recipe: str) -> dict[str, Pictures]:
    """A `Pictures` for each split that has rows, in the order train, validation, test; rows keep their order."""
    made = {}
    for split in SPLITS:
        rows = [row for row in table.rows() if table.splits[row] == split]
        if rows:
            names = [table.names[row] for row in rows]
            targets = np.array([table.labels[row] for row in rows], np.int64)
            made[split] = Pictures(
                pixels, np.array(rows), names, targets, table.keys,
                num_classes=len(table.class_names), one_hot=one_hot, recipe=recipe,
            )  # fmt: skip
    return made


def check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Class names that can stand one a line in labels.txt: at least two, different, printable."""
    names = tuple(class_names)
    if isinstance(class_names, str) or not all(isinstance(name, str) and name and name.isprintable() for name in names):
        raise ValueError(f"class_names must be a list of names, each printable on one line. Received: {class_names!r}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Each class needs a name of its own; {twice[0]!r} stands twice. Received: {class_names!r}")
    if len(names) < 2:
        raise ValueError(f"A classifier needs at least two classes; add one. Received: class_names={class_names!r}")
    return names


def readable(name: str) -> str:
    """A file name that can be printed, also where its bytes are not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _refuse_emptied(table: Table) -> None:
    before = Counter(zip(table.labels, table.splits, strict=True))
    after = Counter((table.labels[row], table.splits[row]) for row in table.rows())
    for label, split in before:
        if not after[label, split]:
            where = f" in {split}" if split else ""
            raise ValueError(
                f"The class {table.class_names[label]!r} has no {table.noun} left{where} after skipping "
                f"{len(table.skipped)}; add good {table.noun}s or remove the class. Received: {table.source}"
            )
