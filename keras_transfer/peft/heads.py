"""The trained parts of the base, one set of values for each adapter: the task's head learns with its adapter."""

from typing import Any

import keras
from keras import ops

from ..core.surgery import own_variables
from .places import at_place, standing

BASE = ""  # whose values were there before


class Heads:
    """Which layers of the base train with which adapter, and their values while another adapter's are in place.

    The layers themselves hold the values of `live`, an adapter or the base; all others are weights of the injected model
    that never train, so a file keeps them. `layers` maps an adapter to the paths of its trained layers.
    """

    def __init__(self, model: keras.Model, layers: dict[str, list[str]], live: str = BASE) -> None:
        self.model, self.live = model, BASE
        self.layers: dict[str, list[str]] = {}
        self.kept: dict[tuple[str, str], list[keras.Variable]] = {}
        for name, paths in layers.items():
            self.claim(name, paths)
        self.live = live

    def claim(self, name: str, paths: list[str]) -> None:
        """Let the layers at `paths` train with adapter `name`, from the base's values on."""
        self.layers[name] = list(paths)
        for path in paths:
            if (BASE, path) not in self.kept:
                self.kept[BASE, path] = self._copies(BASE, path, self._variables(path))
            self.kept[name, path] = self._copies(name, path, self.kept[BASE, path])

    def drop(self, name: str) -> None:
        """Forget what belongs to adapter `name`; the base's values are in place where its were."""
        if self.live == name:
            self.show(BASE)
        for path in self.layers.pop(name, []):
            for variable in self.kept.pop((name, path)):
                self.model.forget_weight(variable)

    def show(self, name: str) -> None:
        """Put the values of adapter `name`, or of the base, in place."""
        if name == self.live:
            return
        for path in self.paths:
            now = self._variables(path)
            if self.live != BASE and (self.live, path) in self.kept:
                _assign(self.kept[self.live, path], now)
            _assign(now, self.kept.get((name, path), self.kept[BASE, path]))
        self.live = name

    @property
    def paths(self) -> list[str]:
        """The layers that train with any adapter."""
        return [path for name, path in self.kept if name == BASE]

    def layers_of(self, name: str) -> list[keras.layers.Layer]:
        """The layers that train with adapter `name`."""
        stand = standing(self.model)
        return [at_place(stand, path)[-1] for path in self.layers.get(name, [])]

    def values(self, name: str) -> dict[str, list[keras.Variable]]:
        """By path, the variables that hold what adapter `name` learned in the base's layers."""
        paths = self.layers.get(name, [])
        return {path: self._variables(path) if name == self.live else self.kept[name, path] for path in paths}

    @property
    def variables(self) -> list[keras.Variable]:
        """All that is kept for later."""
        return [variable for variables in self.kept.values() for variable in variables]

    def _variables(self, path: str) -> list[keras.Variable]:
        return own_variables(at_place(standing(self.model), path)[-1])

    def _copies(self, name: str, path: str, variables: list[Any]) -> list[keras.Variable]:
        stem = f"{name or 'base'}_{path}".replace("/", "_")
        return [self.model.keep_weight(f"{stem}_{place}", one) for place, one in enumerate(variables)]


def _assign(to: list[Any], values: list[Any]) -> None:
    for variable, value in zip(to, values, strict=True):
        variable.assign(ops.copy(value.value))  # on JAX an assigned variable is the same memory, which a step gives up
