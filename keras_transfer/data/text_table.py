"""From rows of texts to classes and splits: no class without training texts, no text under two labels or in two splits."""

import unicodedata
from hashlib import blake2b

from .assemble import Table, check_class_names, settle
from .duplicates import equal_pictures
from .folders import SPLITS
from .text_rows import Rows
from .texts import Text, Texts

TEXT = "text (equal but for white space)"


def split_texts(
    rows: Rows, *, fraction: float, seed: int, skip: bool, one_hot: str
) -> tuple[dict[str, Texts], tuple[str, ...], list[tuple[str, str]]]:
    """The splits, the class names, and what was skipped; refuses one label only, and equal texts where they mislead."""
    if not rows.texts:
        raise ValueError(f"There must be at least one text with a label. Received: {rows.source}")
    if len({isinstance(text, str) for text in rows.texts}) > 1:
        raise ValueError(f"Examples must be texts or pairs of texts, all of one kind. Received: both in {rows.source}")
    named, targets = _classes(rows)
    joined = [_plain_words(text) for text in rows.texts]
    digests = [blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in joined]
    table = Table(named, rows.names, targets, list(rows.splits), digests, digests, rows.source, what=TEXT, order=joined)
    if skip:
        _skip_two_labels(table)
    settle(table, fraction=fraction, seed=seed, skip=skip)
    splits = {}
    for split in SPLITS:
        here = [row for row in table.rows() if table.splits[row] == split]
        if here:
            splits[split] = Texts(
                [rows.texts[row] for row in here], [rows.names[row] for row in here], [targets[row] for row in here],
                num_classes=len(named), one_hot=one_hot == "onehot",
            )  # fmt: skip
    return splits, named, [*rows.bad, *table.named_skips()]


def _classes(rows: Rows) -> tuple[tuple[str, ...], list[int]]:
    """The class names, and the class of every row: numbers in their order, other labels by the alphabet."""
    numbers = all(label.removeprefix("-").isdecimal() for label in rows.labels)
    found = sorted(set(rows.labels), key=(lambda word: (int(word), word)) if numbers else str)
    names = rows.class_names
    if names is not None and set(found) <= set(names):
        of = {name: at for at, name in enumerate(names)}
    elif names is not None and numbers and all(0 <= int(word) < len(names) for word in found):
        of = {word: int(word) for word in found}
    elif names is not None:
        raise ValueError(
            f"`class_names` must be the labels, or names for 0 to {len(names) - 1}. Received: {list(names)} for {found[:10]}"
        )
    else:
        if len(found) < 2:
            raise ValueError(
                f"A classifier needs at least two classes, every text has the label {found[0]!r}; is it the right column? "
                f"Received: {rows.source}"
            )
        names, of = check_class_names(found), {word: at for at, word in enumerate(found)}
    targets = [of[label] for label in rows.labels]
    train = {target for target, split in zip(targets, rows.splits, strict=True) if split in (None, "train")}
    missing = [name for at, name in enumerate(names) if at not in train]
    if missing:
        raise ValueError(
            f"Each class needs training texts; {missing[0]!r} has none. Received: {rows.source} with classes {found[:20]}"
        )
    return names, targets


def _skip_two_labels(table: Table) -> None:
    """Leave out every text that stands under two labels: one of them is wrong, and which is not known."""
    for group in equal_pictures(table.digests, table.rows()):
        if len({table.labels[row] for row in group}) > 1:
            table.skipped.update({row: "the same text stands under two labels" for row in group})


def _plain_words(text: Text) -> str:
    parts = [text] if isinstance(text, str) else text
    return "\n".join(" ".join(unicodedata.normalize("NFC", part).split()) for part in parts)
