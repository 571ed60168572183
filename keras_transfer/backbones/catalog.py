"""The catalogue of backbones, read from `catalog.toml`; needs no Keras."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..core.messages import nearest


@dataclass(frozen=True)
class CatalogEntry:
    """One backbone: how to build it, what it wants as input, and what is known of its ImageNet weights."""

    name: str
    family: str
    constructor: str  # in keras.applications
    arguments: Mapping[str, Any]
    preprocessing: str
    image_size: int
    minimum_size: int
    imagenet_sizes: tuple[int, ...]
    blocks: str  # pattern of a whole layer name; its one group names the block
    parameters: int  # without the classifier
    top1: float  # published, ImageNet validation
    licence: str
    paper: str


@functools.cache
def _catalog() -> Mapping[str, CatalogEntry]:
    families = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8"))
    found = {}
    for family, table in families.items():
        shared = {key: value for key, value in table.items() if key != "members"}
        shared["imagenet_sizes"] = tuple(shared["imagenet_sizes"])
        for name, member in table["members"].items():
            arguments = MappingProxyType(member["arguments"])
            found[name] = CatalogEntry(**shared | member | {"name": name, "family": family, "arguments": arguments})
    return MappingProxyType(found)


def names() -> tuple[str, ...]:
    """The names of all backbones; a width stands in the name, and is 1.0 where none does.

    >>> names()[:2]
    ('mobilenet_v2', 'mobilenet_v2_0.35')
    """
    return tuple(_catalog())


def entry(name: str) -> CatalogEntry:
    """What the catalogue says of one backbone; an unknown name is a `ValueError` with the nearest.

    >>> entry("mobilenet_v2_0.35").arguments["alpha"]
    0.35
    """
    if name not in _catalog():
        raise ValueError(f"Unknown backbone. {nearest(str(name), names())} Received: {name!r}")
    return _catalog()[name]
