"""What a config names: the function of a strategy, and the methods that have a rank."""

from collections.abc import Callable
from typing import Any

RANKED = ("lora", "dora")


def strategy_of(name: str) -> Callable[..., Any]:
    """The strategy of that name; the rooms that register them are imported first."""
    from .. import fewshot, tuning  # noqa: F401
    from ..core.registry import get

    return get("strategy", name)
