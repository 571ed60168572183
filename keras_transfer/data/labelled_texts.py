"""Texts with known classes, to judge a finished model on: no splitting, no rules about training."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.messages import nearest
from .text_columns import Column
from .text_rows import read_texts
from .texts import Texts


def load_labelled_texts(
    path: str | Path | Mapping[str, str | Path],
    class_names: Sequence[str],
    *,
    text_columns: Column | Sequence[Column] | None = None,
    label_column: Column | None = None,
    delimiter: str | None = None,
    on_bad: str = "raise",
) -> tuple[str, Texts, list[tuple[str, str]]]:
    """Read the texts that `path` names with the labels of a model: the split's name, the texts, and what was skipped.

    Where the splits are given the test split is read, else validation; without splits everything ("all"). Labels are the
    names of `class_names`, or numbers from 0 in their order where no name is itself a number. One that is neither is a
    `ValueError` with the nearest; classes may be missing. The other arguments are those of `load_texts`.

    Example: `split, texts, skipped = load_labelled_texts("new_reviews.tsv", ["negative", "positive"])`
    """
    rows = read_texts(path, text_columns, label_column, delimiter, None, skip=on_bad == "skip", least_classes=1)
    wanted = next((split for split in ("test", "validation", "train") if split in rows.splits), None)
    here = [row for row, split in enumerate(rows.splits) if split == wanted]
    if not here:
        raise ValueError(f"No text is left to judge the model on. Received: {rows.source}")
    # "0" is no place among classes that are called "1" to "5"
    numbered = any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in class_names)
    numbers = {} if numbered else {str(at): at for at in range(len(class_names))}
    known = {name: at for at, name in enumerate(class_names)}
    for label in dict.fromkeys(rows.labels[row] for row in here):
        if label not in known and label not in numbers:
            raise ValueError(
                f"The model does not know the class {label!r}; name classes as in training. "
                f"{nearest(label, class_names)} Received: {rows.source}"
            )
    targets = [known.get(rows.labels[row], numbers.get(rows.labels[row])) for row in here]
    texts = Texts(
        [rows.texts[row] for row in here],
        [rows.names[row] for row in here],
        targets,
        num_classes=len(class_names),
        one_hot=False,
    )
    return wanted or "all", texts, list(rows.bad)
