"""Where injections stand: the paths of the base that they hold, and how they are put around layers and taken away."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ..core.messages import nearest
from ..core.selection import named_layers
from ..core.surgery import replace, sublayers
from .wrapper import Adapter, Injection

Adapters = Mapping[str, Mapping[str, Any]]  # the settings of each adapter, by its name


def wrappers(model: keras.Model) -> list[Injection]:
    """The injections below `model`, outer ones first."""
    return [layer for _, layer in named_layers(model) if isinstance(layer, Injection)]


def places(model: keras.Model) -> dict[int, str]:
    """For each layer, by its id, the path in the base: an injection and what it holds stand in one place.

    Adapters have no place.
    """
    found: dict[int, str] = {}

    def visit(layer: keras.layers.Layer, path: str) -> None:
        held = isinstance(layer, Injection)
        for child in [layer.base] if held else sublayers(layer):
            if id(child) not in found:
                found[id(child)] = path if held else f"{path}/{child.name}".lstrip("/")
                visit(child, found[id(child)])

    visit(model, "")
    return found


def standing(model: keras.Model) -> dict[str, list[Any]]:
    """For each place the layers that stand there: the injections, outer ones first, and last the layer of the base."""
    paths = places(model)
    found: dict[str, list[Any]] = {}
    for _, layer in named_layers(model):
        if id(layer) in paths:
            found.setdefault(paths[id(layer)], []).append(layer)
    return found


def at_place(stand: Mapping[str, list[Any]], path: str) -> list[Any]:
    """What stands at `path`; a `ValueError` with the nearest paths where nothing does."""
    if path not in stand:
        raise ValueError(f"The base has no layer at that path. {nearest(path, stand)} Received: {path!r}")
    return stand[path]


def put_around(roots: Sequence[keras.Model], method: type[Injection], wanted: Mapping[str, Adapters]) -> None:
    """At each path let a `method` with these adapters stand around the layer; one that stands there takes them in.

    A new injection stands inside those that are there already. Where it fails the model is as it was.
    """
    stand = standing(roots[0])
    pairs: list[tuple[keras.layers.Layer, Injection]] = []
    made: list[tuple[Injection, str]] = []
    try:
        for path, adapters in wanted.items():
            *around, layer = at_place(stand, path)
            injection = next((one for one in around if type(one) is method), None)
            if injection is None:
                injection = method(layer, path)
                pairs.append((layer, injection))
            for name, settings in adapters.items():
                made.append((injection, name))
                injection.add_adapter(name, dict(settings))
    except Exception:
        for injection, name in made:
            injection.adapters.pop(name, None)
        for _, injection in pairs:
            injection.release()
        raise
    replace(roots, pairs)


def take_away(roots: Sequence[keras.Model], names: Sequence[str]) -> None:
    """Remove the adapters of these names; an injection without adapters goes, and what it held stands in its place."""
    for injection in wrappers(roots[0]):
        for name in names:
            injection.adapters.pop(name, None)
    while empty := [one for one in wrappers(roots[0]) if not one.adapters]:
        inner = [one for one in empty if one.base not in empty]  # an outer one may have borrowed from an inner one
        replace(roots, [(one, one.release()) for one in inner])


def adapter_names(model: keras.Model) -> list[str]:
    """The names of the adapters of `model`, in the order in which they came."""
    return list(dict.fromkeys(name for one in wrappers(model) for name in one.adapters))


def adapters_called(model: keras.Model, name: str) -> list[Adapter]:
    """The adapters of that name, one an injection; an unknown name is a `ValueError` with the nearest."""
    names = adapter_names(model)
    if name not in names:
        raise ValueError(f"The model has no adapter of that name. {nearest(str(name), names)} Received: {name!r}")
    return [one.adapters[name] for one in wrappers(model) if name in one.adapters]
