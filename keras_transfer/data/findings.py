"""From looks at files to findings: what does not decode, what is alike, how classes and sizes are spread."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .duplicates import equal_pictures
from .kinds import BLANK, FEW, KINDS, SEVERITIES, SMALL, STRETCHED, UNEVEN, VERY_UNEVEN
from .near import SIDE, groups, near_duplicates
from .reading import Look
from .scan_report import Finding

Found = Iterator[tuple[str, list[list[str]]]]  # kind, groups of files


@dataclass(frozen=True)
class Looked:
    """A row a file: its printable name, label, split (None: not given), and what a look at it gave."""

    class_names: Sequence[str]
    names: Sequence[str]
    labels: Sequence[int]
    splits: Sequence[str | None]
    looks: Sequence[Look]

    @property
    def good(self) -> list[int]:
        """The rows that are pictures."""
        return [row for row, look in enumerate(self.looks) if look.kind is None]

    def counts(self) -> dict[str, dict[str, int]]:
        """{class: {split: number of pictures}}, every class with every split."""
        splits = [split for split in ("train", "validation", "test") if split in self.splits]
        found = Counter((self.labels[row], self.splits[row] or "all") for row in self.good)
        unplaced = any(self.splits[row] is None for row in self.good)  # a file left out by load_images has no split
        splits += ["all"] if unplaced or not splits else []
        return {name: {s: found[label, s] for s in splits} for label, name in enumerate(self.class_names)}


def findings(looked: Looked, told: dict[str, list[str]]) -> list[Finding]:
    """All that is wrong, errors first; `told` holds what the layout of the folder said, files by kind."""
    found: dict[str, list[list[str]]] = {kind: [[name] for name in names] for kind, names in told.items() if names}
    for source in (_damage(looked), _traits(looked), _alike(looked), _classes(looked), _sizes(looked)):
        for kind, files in source:
            if files:
                found.setdefault(kind, []).extend(files)
    made = [Finding(kind, *KINDS[kind], found[kind]) for kind in KINDS if kind in found]
    return sorted(made, key=lambda one: SEVERITIES.index(one.severity))


def sizes(looks: Sequence[Look]) -> dict[str, list[Any]] | None:
    """Median, smallest and largest [height, width], and [min, median, max] of width / height; None without pictures."""
    good = [look.size for look in looks if look.kind is None]
    if not good:
        return None
    pairs = np.array(good)
    area, aspect = pairs.prod(axis=1), pairs[:, 1] / pairs[:, 0]
    spread = [round(float(value), 4) for value in (aspect.min(), np.median(aspect), aspect.max())]
    return {
        "median": [round(float(value)) for value in np.median(pairs, axis=0)],
        "smallest": pairs[area.argmin()].tolist(),
        "largest": pairs[area.argmax()].tolist(),
        "aspect": spread,
    }


def _damage(looked: Looked) -> Found:
    for name, look in zip(looked.names, looked.looks, strict=True):
        if look.kind is not None:
            yield look.kind, [[name]]


def _traits(looked: Looked) -> Found:
    for row in looked.good:
        look = looked.looks[row]
        for trait in look.facts.traits if look.facts else ():
            yield trait, [[looked.names[row]]]
        if look.thumbnail is not None and int(look.thumbnail.max()) - int(look.thumbnail.min()) < BLANK:
            yield "blank", [[looked.names[row]]]


def _alike(looked: Looked) -> Found:
    """Equal pictures, and near-duplicates among those that differ: under two labels, in two splits, or merely twice."""
    digests = [look.digest for look in looked.looks]
    equal = equal_pictures(digests, looked.good)
    for group in equal:
        if len(group) > 1:
            yield _where(looked, group, ("two_labels", "two_splits", "duplicate"))
    rows = [group[0] for group in equal]
    comparable = [
        row for row in rows if min(looked.looks[row].size) >= SIDE and looked.looks[row].thumbnail is not None
    ]
    if len(comparable) > 1:
        pairs = near_duplicates(np.stack([looked.looks[row].thumbnail for row in comparable]))  # type: ignore[misc]
        for members in groups(pairs):
            group = [comparable[member] for member in members]
            yield _where(looked, group, ("near_two_labels", "near_two_splits", "near_duplicate"))


def _where(looked: Looked, group: Sequence[int], kinds: tuple[str, str, str]) -> tuple[str, list[list[str]]]:
    labels, splits = {looked.labels[row] for row in group}, {looked.splits[row] for row in group}
    kind = kinds[0] if len(labels) > 1 else kinds[1] if len(splits) > 1 else kinds[2]
    return kind, [[looked.names[row] for row in group]]


def _classes(looked: Looked) -> Found:
    counts = looked.counts()
    training = {name: by_split.get("train", by_split.get("all", 0)) for name, by_split in counts.items()}
    training = {name: count for name, count in training.items() if count}
    if training:
        most, least = max(training, key=training.__getitem__), min(training, key=training.__getitem__)
        ratio = training[most] / training[least]
        if ratio >= UNEVEN:
            told = f"{most} ({training[most]}), {least} ({training[least]})"
            yield "very_uneven" if ratio >= VERY_UNEVEN else "uneven", [[told]]
    seen = {(looked.labels[row], looked.looks[row].digest) for row in looked.good if looked.splits[row] != "test"}
    if "validation" not in looked.splits and len(seen) == len(training):
        yield "none_to_hold_out", [[name] for name in training]
    yield "few_pictures", [[name] for name, count in training.items() if count < FEW]
    for split in ("validation", "test"):
        if split in looked.splits:
            yield "not_held_out", [[f"{name} ({split})"] for name in training if not counts[name].get(split)]
    alike: dict[str, list[str]] = defaultdict(list)
    for name in looked.class_names:
        alike["".join(filter(str.isalnum, name.casefold())) or name].append(name)
    yield "similar_class_names", [names for names in alike.values() if len(names) > 1]


def _sizes(looked: Looked) -> Found:
    rows = looked.good
    if not rows:
        return
    pairs = np.array([looked.looks[row].size for row in rows])
    shorter, aspect = pairs.min(axis=1), np.log(pairs[:, 1] / pairs[:, 0])
    small = (shorter < SMALL) & (shorter * 4 <= np.median(shorter))
    stretched = np.abs(aspect - np.median(aspect)) >= np.log(STRETCHED)
    yield "small", [[looked.names[rows[at]]] for at in np.flatnonzero(small)]
    yield "stretched", [[looked.names[rows[at]]] for at in np.flatnonzero(stretched)]
