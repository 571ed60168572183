"""One table of names: `@register("lora")` gives a technique its name and, to a class, its serialisation."""

from collections.abc import Callable
from typing import Any, TypeVar

from .messages import nearest

T = TypeVar("T")
_TABLE: dict[str, dict[str, Any]] = {}


def register(name: str, kind: str = "layer") -> Callable[[T], T]:
    """Register a class or a function under `name` among its `kind` (`"layer"`, `"strategy"`, ...).

    A class is also registered with Keras as `keras_transfer>ClassName`, so that plain `keras.models.load_model` finds
    it.
    """

    def decorate(thing: T) -> T:
        table = _TABLE.setdefault(kind, {})
        if name in table and table[name].__qualname__ != thing.__qualname__:  # type: ignore[attr-defined]
            raise ValueError(f"Each name stands once among the {kind} names; choose another. Received: {name!r}")
        table[name] = thing
        if isinstance(thing, type):
            import keras

            keras.saving.register_keras_serializable("keras_transfer")(thing)
        return thing

    return decorate


def registered(kind: str) -> dict[str, Any]:
    """All names of one kind, in the order in which they came."""
    return dict(_TABLE.get(kind, {}))


def get(kind: str, name: str) -> Any:
    """The thing of that kind and name; an unknown name is a `ValueError` with the nearest ones."""
    table = _TABLE.get(kind, {})
    if name not in table:
        raise ValueError(f"Unknown {kind}. {nearest(str(name), table)} Received: {name!r}")
    return table[name]
