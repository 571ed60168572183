"""The catalogue of backbones, read from `catalog.toml`; needs no Keras."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..core.messages import nearest

HUB = "hub:"  # what follows is a preset of keras-hub, or a folder that holds one


@dataclass(frozen=True)
class CatalogEntry:
    """One backbone: how to build it, what it wants as input, and what is known of its ImageNet weights."""

    name: str
    family: str
    constructor: str  # in keras.applications
    preprocessing: str
    image_size: int
    minimum_size: int
    parameters: int  # without the classifier
    top1: float  # published, ImageNet validation
    licence: str
    paper: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    imagenet_sizes: tuple[int, ...] = ()
    blocks: str | None = None  # pattern of a whole layer name; its one group names the block
    other_channels: str | None = None  # preprocessing of pictures without three channels


@dataclass(frozen=True)
class HubEntry:
    """A backbone of keras-hub: a preset by its name, or a folder; what it wants as input stands in the preset."""

    name: str
    family: str = "hub"

    @property
    def preset(self) -> str:
        """What keras-hub calls it."""
        return self.name.removeprefix(HUB)

    @property
    def image_size(self) -> int:
        """Height and width for which its weights were made; fetches the preset's configuration where it is no folder."""
        from .hub import preset_size

        return preset_size(self.preset)


@functools.cache
def _catalog() -> Mapping[str, CatalogEntry]:
    families = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8"))
    found = {}
    for family, table in families.items():
        shared = {key: value for key, value in table.items() if key != "members"}
        for name, member in table["members"].items():
            told = shared | member | {"name": name, "family": family}
            told["arguments"] = MappingProxyType(told.get("arguments", {}))
            told["imagenet_sizes"] = tuple(told.get("imagenet_sizes", [told["image_size"]]))
            found[name] = CatalogEntry(**told)
    return MappingProxyType(found)


def names() -> tuple[str, ...]:
    """The names of all backbones; a width stands in the name, and is 1.0 where none does.

    >>> names()[:2]
    ('mobilenet_v2', 'mobilenet_v2_0.35')
    """
    return tuple(_catalog())


def entry(name: str) -> CatalogEntry | HubEntry:
    """What the catalogue says of one backbone; an unknown name is a `ValueError` with the nearest.

    `"hub:..."` names a preset of keras-hub (`"hub:vit_base_patch16_224_imagenet"`) or a folder with one.

    >>> entry("mobilenet_v2_0.35").arguments["alpha"]
    0.35
    """
    if isinstance(name, str) and name.startswith(HUB):
        if name == HUB:
            raise ValueError(f"'{HUB}' must be followed by a preset of keras-hub or a folder. Received: {name!r}")
        return HubEntry(name)
    return known(name)


def known(name: str) -> CatalogEntry:
    """The entry of a name that stands in the catalogue itself."""
    if name not in _catalog():
        raise ValueError(f"Unknown backbone. {nearest(str(name), names())} Received: {name!r}")
    return _catalog()[name]
