"""The `where` language: name layers by path, pattern, class, part of the model or predicate."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from .messages import nearest
from .surgery import own_variables, sublayers, walk

Where = Any  # str | re.Pattern | type[Layer] | Layer | Callable[[str, Layer], bool] | a list of those
Finder = Callable[[keras.Model], Any]
_FINDERS: dict[str, list[Finder]] = {}


class NamedLayer(NamedTuple):
    """A layer and its ownership path: the names of the layers that hold it, and its own, joined by `/`."""

    path: str
    layer: keras.layers.Layer


def named_layers(model: keras.Model) -> list[NamedLayer]:
    """Every layer below `model` with its path, parents before children, a shared layer once, input layers left out.

    Example: `[path for path, _ in named_layers(model)]` gives `["preprocessing", "backbone", "backbone/Conv1", ...]`.
    """
    found: list[NamedLayer] = []
    seen: set[int] = set()

    def visit(layer: keras.layers.Layer, prefix: str) -> None:
        for child in sublayers(layer):
            if id(child) not in seen:
                seen.add(id(child))
                found.append(NamedLayer(prefix + child.name, child))
                visit(child, f"{prefix}{child.name}/")

    visit(model, "")
    return found


def register_finder(kind: str, finder: Finder) -> None:
    """Let a room above say how to find a `"head"`, a `"backbone"` (lists of layers) or the `"blocks"` (lists of lists).

    A finder returns None where it does not know the model; the last registered is asked first.
    """
    if finder not in _FINDERS.setdefault(kind, []):
        _FINDERS[kind].insert(0, finder)


def find(kind: str, model: keras.Model) -> Any:
    """What the finders say of `model`; a `ValueError` where none knows it."""
    for finder in _FINDERS.get(kind, []):
        found = finder(model)
        if found:
            return found
    raise ValueError(
        f"The model has no {kind} that we know; name layers by path instead. Received: model {model.name!r}"
    )


def select(model: keras.Model, where: Where) -> list[NamedLayer]:
    """The layers that `where` names, everything below them included, in the order of `named_layers`.

    `where` is one of:

    - a path or a trailing run of its segments: `"backbone/block_1_expand"`, `"query"`, `"attention/query"`;
    - `"re:..."` or a compiled pattern, which must match a whole path;
    - a named set: `"all-linear"` (Dense and EinsumDense outside the head), `"head"`, `"backbone"`, `"top:3"` (the last
      three blocks of the backbone, layers with weights only);
    - a layer class, a layer, or a function `(path, layer) -> bool`;
    - a list of those.

    Raises `ValueError`, with the nearest paths, where an item matches nothing.

    Example: `kt.select(model, ["head", "top:2", keras.layers.BatchNormalization])`
    """
    named = named_layers(model)
    items = list(where) if isinstance(where, (list, tuple, set, frozenset)) else [where]
    if not items:
        raise ValueError("`where` must name at least one layer. Received: an empty list")
    chosen: set[int] = set()
    for item in items:
        matched = _match(model, named, item)
        if not matched:
            raise ValueError(f"`where` matches no layer of the model. {_hint(item, named)} Received: where={item!r}")
        for layer in matched:
            chosen.update(id(below) for below in walk(layer))
    return [one for one in named if id(one.layer) in chosen]


def _match(model: keras.Model, named: list[NamedLayer], item: Where) -> list[keras.layers.Layer]:
    """The layers that one item of a `where` names itself, without those below them."""
    if isinstance(item, str) and not item.startswith("re:"):
        return _match_word(model, named, item)
    if isinstance(item, str):
        try:
            item = re.compile(item.removeprefix("re:"))
        except re.error as error:
            raise ValueError(
                f"`where` must hold a valid regular expression after 're:' ({error}). Received: {item!r}"
            ) from error
    if isinstance(item, re.Pattern):
        return [layer for path, layer in named if item.fullmatch(path)]
    if isinstance(item, type):
        return [layer for _, layer in named if isinstance(layer, item)]
    if isinstance(item, keras.layers.Layer):
        return [layer for _, layer in named if layer is item]
    if callable(item):
        return [layer for path, layer in named if item(path, layer)]
    raise TypeError(
        "`where` must be a path, 're:...', a pattern, a layer or layer class, a function (path, layer) -> bool, or a list of "
        f"those. Received: {item!r} (of type {type(item).__name__})"
    )


def _match_word(model: keras.Model, named: list[NamedLayer], word: str) -> list[keras.layers.Layer]:
    if word in ("head", "backbone"):
        return list(find(word, model))
    if word == "all-linear":
        linear = (keras.layers.Dense, keras.layers.EinsumDense)
        head = {id(below) for layer in _head(model) or [] for below in walk(layer)}
        return [layer for _, layer in named if isinstance(layer, linear) and id(layer) not in head]
    if word.startswith("top:"):
        return [layer for block in _top(model, word) for layer in block if own_variables(layer) or layer.weights]
    segments = word.split("/")
    return [layer for path, layer in named if path.split("/")[-len(segments) :] == segments]


def _top(model: keras.Model, word: str) -> Sequence[Sequence[keras.layers.Layer]]:
    count = word.removeprefix("top:")
    blocks = find("blocks", model)
    if not count.isdigit() or not 1 <= int(count) <= len(blocks):
        raise ValueError(
            f"'top:N' takes the last N of the backbone's {len(blocks)} blocks, N from 1. Received: {word!r}"
        )
    return blocks[-int(count) :]


def _hint(item: Where, named: list[NamedLayer]) -> str:
    if not isinstance(item, str):
        return "Print `named_layers(model)` to see every path."
    word = item.removeprefix("re:").split("/")[-1]
    weighty, others = ([one for one in named if bool(one.layer.weights) is held] for held in (True, False))
    names = [[word for path, _ in some for word in (path, path.split("/")[-1])] for some in (weighty, others)]
    return nearest(word, names[0] + names[1], prefer=names[0])  # a layer with weights is what people mean


def _head(model: keras.Model) -> list[keras.layers.Layer] | None:
    """The layer called `head`, else the last top layer with weights (a classifier's); an encoder has none."""
    layers = sublayers(model)
    named = [layer for layer in layers if layer.name == "head"]
    if not named and any(layer.name == "backbone" for layer in layers):
        return None
    return named or [layer for layer in layers if layer.weights][-1:] or None


def _backbone(model: keras.Model) -> list[keras.layers.Layer] | None:
    """The layer called `backbone`, else everything with weights before the head."""
    layers = sublayers(model)
    named = [layer for layer in layers if layer.name == "backbone"]
    return named or [layer for layer in layers if layer.weights and layer not in (_head(model) or [])] or None


register_finder("head", _head)
register_finder("backbone", _backbone)
