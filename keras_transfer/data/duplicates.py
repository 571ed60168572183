"""The same picture twice: under two labels, in two splits, or merely twice."""

from collections import defaultdict
from collections.abc import Sequence

from .reading import bulleted

PICTURE = "picture (equal pixels)"
_RANK = {"train": 0, "validation": 1, "test": 2}


def equal_pictures(digests: Sequence[bytes], rows: Sequence[int]) -> list[list[int]]:
    """The rows in groups of equal pictures (most groups hold one), in the order of their first row."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row in rows:
        groups[digests[row]].append(row)
    return list(groups.values())


def refuse_two_labels(
    groups: Sequence[Sequence[int]], labels: Sequence[int], names: Sequence[str], source: str, what: str = PICTURE
) -> None:
    """Raise where one picture stands under two labels: one of them is wrong, and nobody but the user knows which."""
    clashes = []
    for group in groups:
        first = group[0]
        clashes += [f"{names[first]} = {names[row]}" for row in group[1:] if labels[row] != labels[first]][:1]
    if clashes:
        raise ValueError(
            f"The same {what} stands under two labels, {len(clashes)} times; keep it under the right "
            f"one.\n{bulleted(clashes)}\nReceived: {source}"
        )


def across_splits(groups: Sequence[Sequence[int]], splits: Sequence[str | None]) -> dict[int, int]:
    """Rows to drop so that no picture is in two splits, each with its twin that stays.

    Test is left as it is; validation loses what is in test, and train what is in either, so that a score on held-out
    pictures is a score on unseen ones.
    """
    drop: dict[int, int] = {}
    for group in groups:
        keeper = max(group, key=lambda row: _RANK[splits[row] or "train"])
        drop.update({row: keeper for row in group if splits[row] != splits[keeper]})
    return dict(sorted(drop.items()))


def refuse_across_splits(drop: dict[int, int], names: Sequence[str], source: str, what: str = PICTURE) -> None:
    """Raise where a picture is in two splits, with the pairs."""
    if drop:
        raise ValueError(
            f"The same {what} is in two splits, {len(drop)} times, so held-out scores would flatter; "
            f"remove one of each pair, or let --on-bad skip (on_bad='skip') drop the first.\n"
            f"{bulleted([f'{names[row]} = {names[keeper]}' for row, keeper in drop.items()])}\nReceived: {source}"
        )
