"""A room that is also a verb: `kt.evaluate(model, data)` calls the function `evaluate` of the room `kt.evaluate`."""

import sys
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A room called by its own name calls its function of that name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class Door(ModuleType):
    """A package in which some rooms are verbs. Python hands a room to its package when the room was imported."""

    verbs: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.verbs and type(value) is ModuleType:
            value.__class__ = Verb
        super().__setattr__(name, value)


def open_door(module: str, verbs: tuple[str, ...]) -> None:
    """Let the rooms `verbs` of the package `module` be called: whoever imports them first, in whatever order."""
    door: Any = sys.modules[module]
    door.__class__ = Door
    door.verbs = verbs
