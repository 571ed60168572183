"""What pictures and texts that are split have in common: a data set a split, the split that judges, and who is where."""

import csv
import io
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.files import atomic_write
from .summary import as_html, as_text


class SplitData:
    """`splits` by name, seen as `train`, `validation` and `test`; `ImageData` and `TextData` say what a data set of one is."""

    class_names: Sequence[str]
    splits: dict[str, Any]

    @abstractmethod
    def _dataset(self, split: str, shuffle: bool = False) -> Any:
        """A split as a `tf.data.Dataset`."""

    @cached_property
    def train(self) -> Any:
        """The training split as a `tf.data.Dataset`, in a new order every time it is read."""
        return self._dataset("train", shuffle=True)

    @cached_property
    def validation(self) -> Any:
        """The validation split as a `tf.data.Dataset`, in order."""
        return self._dataset("validation")

    @cached_property
    def test(self) -> Any:
        """The test split as a `tf.data.Dataset`, in order; None where none was given."""
        return self._dataset("test") if "test" in self.splits else None

    @property
    def held_out(self) -> tuple[str, Any]:
        """Name and samples of the split that judges the model: test where given, else validation."""
        name = "test" if "test" in self.splits else "validation"
        return name, self.splits[name]

    @property
    def title(self) -> str:
        """One line: what it is, and how much of it."""
        what, more = self._what()
        count = sum(map(len, self.splits.values()))
        return f"{type(self).__name__}: {count:,} {what} of {len(self.class_names)} classes{more}"

    @abstractmethod
    def _what(self) -> tuple[str, str]:
        """What its samples are called, and what else there is to say in one line."""

    def write_split(self, path: str | Path) -> Path:
        """Write a CSV with the header path,label,split.

        A path is relative to the data folder; of a table of texts it is the name of the file and the number of the line.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["path", "label", "split"])
        for split, samples in self.splits.items():
            labels = [self.class_names[target] for target in samples.targets()]
            writer.writerows([name, label, split] for name, label in zip(samples.names, labels, strict=True))
        return atomic_write(path, text.getvalue())

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)
