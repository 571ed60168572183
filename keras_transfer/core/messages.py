"""Words that errors share: the nearest names to one that was not found."""

import difflib
from collections.abc import Container, Iterable


def nearest(word: str, words: Iterable[str], count: int = 3, prefer: Container[str] = ()) -> str:
    """A sentence with the names nearest to `word`, or with the first of all names where none is near.

    Behind the nearest of all come those to `prefer`.
    """
    words = list(dict.fromkeys(words))
    near = difflib.get_close_matches(word, words, n=4 * count, cutoff=0.5)
    near = [*near[:1], *sorted(near[1:], key=lambda name: name not in prefer)][:count]
    if near:
        return "Did you mean " + " or ".join(repr(name) for name in near) + "?"
    if not words:
        return "There are none."
    return "Known: " + ", ".join(repr(name) for name in words[:12]) + (", ..." if len(words) > 12 else "") + "."
