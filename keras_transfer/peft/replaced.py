"""Layers of the base that others stand for, as quantised ones do: put in place, and again when a file is read."""

from collections.abc import Callable, Sequence

import keras

from ..core.registry import get
from ..core.surgery import forget_traces, replace
from .places import at_place, standing


def put_in_place(roots: Sequence[keras.Model], kind: str, paths: Sequence[str]) -> list[list[str]]:
    """Replace the layer at each path by what the registered `replacement` of that name makes of it; one at a time.

    Returns what a file says of it, for `replace_again`.
    """
    make = get("replacement", kind)
    for path in paths:
        _put(roots, path, make)
    forget_traces(roots)
    return [[path, kind] for path in paths]


def replace_again(base: keras.Model, replaced: Sequence[Sequence[str]]) -> None:
    """Replace the layers of a new base as a file says."""
    for path, kind in replaced:
        _put((base,), path, get("replacement", kind))


def _put(roots: Sequence[keras.Model], path: str, make: Callable[[keras.layers.Layer], keras.layers.Layer]) -> None:
    old = at_place(standing(roots[0]), path)[-1]
    new = make(old)
    if new is not old:  # some change the layer itself
        replace(roots, [(old, new)])
