"""Texts with labels, from tables, folders or lists, as train, validation and test: `load_texts` and `TextData`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .images import check_settings
from .split import check_fraction
from .splits import SplitData
from .text_columns import Column
from .text_report import LengthReport, length_report
from .text_rows import from_lists, read_texts
from .text_table import split_texts
from .texts import Texts, dataset, tokenizing_layer


class TextData(SplitData):
    """Texts with labels, split; what `load_texts` and `TextData.from_arrays` return and every fit of a text model takes.

    `splits` maps "train", "validation" and, where given, "test" to `Texts` (by index); `train`, `validation` and `test`
    are the same as `tf.data.Dataset`: of strings and labels, and, after `tokenized`, of token ids int32 (B, length) and
    labels, each batch as long as its longest text. `train` is shuffled anew with the seed every time it is read.
    `skipped` lists (name, reason) of what was left out, `seconds` is what reading took.
    """

    scan = None  # there is no scan of texts; what it would refuse, `load_texts` does

    def __init__(
        self, class_names: Sequence[str], splits: dict[str, Texts], *, batch_size: int = 32, seed: int = 0,
        labels: str = "int", skipped: Sequence[tuple[str, str]] = (), seconds: float = 0.0,
    ) -> None:  # fmt: skip
        self.class_names, self.splits = tuple(class_names), splits
        self.batch_size, self.seed, self.labels = batch_size, seed, labels
        self.skipped, self.seconds = list(skipped), seconds
        self._known: tuple[Any, TextData] | None = None

    @classmethod
    def from_arrays(
        cls, x: Sequence[Any], y: Any, *, class_names: Sequence[str] | None = None,
        validation: tuple[Any, Any] | None = None, test: tuple[Any, Any] | None = None, batch_size: int = 32,
        validation_fraction: float = 0.2, seed: int = 0, labels: str = "int", on_bad: str = "raise",
    ) -> "TextData":  # fmt: skip
        """Texts (n,), or pairs of texts, with integer labels, one-hot rows, or class names.

        Without `class_names` the classes are the labels themselves, sorted; without `validation` a stratified part of
        `x` is held out. The rules about equal texts are those of `load_texts`; names are "train[17]".

        Example: `TextData.from_arrays(["good", "bad", "fine", "poor"], [1, 0, 1, 0])`
        """
        check_settings(batch_size=batch_size, seed=seed, labels=labels, on_bad=on_bad)
        fraction = check_fraction(validation_fraction)
        parts = {"train": (x, y), "validation": validation, "test": test}
        rows = from_lists({split: pair for split, pair in parts.items() if pair is not None}, class_names)
        splits, names, skipped = split_texts(rows, fraction=fraction, seed=seed, skip=on_bad == "skip", one_hot=labels)
        return cls(names, splits, batch_size=batch_size, seed=seed, labels=labels, skipped=skipped)

    def tokenized(self, model: Any) -> "TextData":
        """The same texts as token ids, by the tokenizer of a text model; a model's strategies ask for it themselves.

        Raises `ValueError` where the model has no tokenizer.

        Example: `model.fit(data.tokenized(model).train, epochs=3)`
        """
        layer = tokenizing_layer(model)
        if self._known is None or self._known[0] is not layer:
            splits = {split: texts.tokenized(layer) for split, texts in self.splits.items()}
            made = TextData(
                self.class_names, splits, batch_size=self.batch_size, seed=self.seed, labels=self.labels,
                skipped=self.skipped, seconds=self.seconds,
            )  # fmt: skip
            self._known = layer, made
        return self._known[1]

    def for_model(self, model: Any) -> "TextData":
        """These texts where they are tokens already, else `tokenized(model)`."""
        return self if self.lengths is not None else self.tokenized(model)

    @property
    def lengths(self) -> LengthReport | None:
        """How long the texts are in tokens, and how many are cut; None before they are tokens."""
        found = {split: texts.tokens for split, texts in self.splits.items() if texts.tokens is not None}
        if not found:
            return None
        return length_report({split: one.whole for split, one in found.items()}, next(iter(found.values())).max_length)

    @property
    def pairs(self) -> bool:
        """Whether each example is two texts."""
        return not isinstance(self.splits["train"].texts[0], str)

    def _what(self) -> tuple[str, str]:
        return "pairs of texts" if self.pairs else "texts", ""

    def _dataset(self, split: str, shuffle: bool = False) -> Any:
        return dataset(self.splits[split], self.batch_size, shuffle=shuffle, seed=self.seed)


def load_texts(
    path: str | Path | Mapping[str, str | Path], *, text_columns: Column | Sequence[Column] | None = None,
    label_column: Column | None = None, delimiter: str | None = None, class_names: Sequence[str] | None = None,
    batch_size: int = 32, validation_fraction: float = 0.2, seed: int = 0, on_bad: str = "raise", labels: str = "int",
) -> TextData:  # fmt: skip
    """Read texts with labels: a table, a folder with a table for each split, or a folder of .txt files by class.

    path: a .tsv, .csv or .jsonl file, also as .gz; a folder with train.tsv, and where there are val.tsv and test.tsv;
    a folder with a sub-folder of .txt files a class, with or without train/, val/ and test/ above; or a dict that names
    the file of "train", "validation" and "test". Without a validation part a stratified share of train
    (`validation_fraction`) is held out, drawn with the seed by the texts themselves, so that the order of lines does not
    matter. text_columns: a name or a number from 0, or two of them for pairs of texts; label_column likewise. Left out,
    they are known by usual names in the first line; without such a line the column with the fewest different values is
    the label. delimiter: of tables that are not what they end in. class_names: what labels that are numbers are called,
    in their order; by default the labels themselves.

    `on_bad="raise"` stops with the numbers of the lines that are broken or empty, with texts that stand under two labels
    and with texts that are in two splits; `"skip"` leaves them out and names them in `TextData.skipped`. Equal texts are
    those that differ in white space only. Raises `ValueError` with a sentence for each thing that can be wrong.

    Example: `data = kt.load_texts("reviews.tsv")`
    """
    check_settings(batch_size=batch_size, seed=seed, labels=labels, on_bad=on_bad)
    fraction, started = check_fraction(validation_fraction), time.perf_counter()
    rows = read_texts(path, text_columns, label_column, delimiter, class_names, skip=on_bad == "skip")
    splits, names, skipped = split_texts(rows, fraction=fraction, seed=seed, skip=on_bad == "skip", one_hot=labels)
    seconds = time.perf_counter() - started
    return TextData(
        names, splits, batch_size=batch_size, seed=seed, labels=labels, skipped=skipped, seconds=seconds
    )  # fmt: skip
