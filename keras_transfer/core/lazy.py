"""Public names that import their module on first use (PEP 562), so that a door costs nothing to open."""

import importlib
from collections.abc import Callable
from typing import Any


def attach(module: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package whose public names live in its submodules.

    `names` maps a public name to the submodule that holds it (`".images"`), or to `""` + a submodule of the same name
    when the name *is* a room (`{"tuning": ""}`).

    Example: `__getattr__, __dir__ = attach(__name__, {"load_images": ".images"})`
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if not names[name]:
            return importlib.import_module(f".{name}", module)
        return getattr(importlib.import_module(names[name], module), name)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted(names)

    return __getattr__, __dir__
