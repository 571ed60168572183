"""What a comparison is asked for: which strategies, seeds and settings, checked before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import fewshot, tuning  # noqa: F401  registers the strategies
from ..core.messages import nearest
from ..core.numbers import count
from ..core.registry import registered

SCRATCH = "scratch"
DEFAULT = ("nearest_mean", "linear_probe", "feature_extraction", "partial", "progressive", "layerwise", "full", SCRATCH)
CLOSED = ("nearest_mean", "linear_probe")  # solved exactly: no seed changes them


def strategy_names() -> tuple[str, ...]:
    """All that can be compared: the registered strategies in the order of what they train, and "scratch"."""
    return (
        *[name for name in DEFAULT if name != SCRATCH],
        *[n for n in registered("strategy") if n not in DEFAULT],
        SCRATCH,
    )


def check_strategies(strategies: Sequence[str] | None, bases: Mapping[str, Any]) -> list[str]:
    """The names of the rows, all by default; bases: the backbones with their weights."""
    known = strategy_names()
    if isinstance(strategies, str):
        raise TypeError(f"`strategies` must be a list of names. Received: {strategies!r}")
    names = list(known if strategies is None else strategies)
    for name in names:
        if name not in known:
            raise ValueError(f"Unknown strategy. {nearest(str(name), known)} Received: {name!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`strategies` must be at least one name, each once. Received: {strategies!r}")
    bare = [base for base, file in bases.items() if file is None]
    if bare and set(names) - {SCRATCH, "full"}:
        raise ValueError(
            f"A backbone without pretrained weights has nothing to transfer; give weights, or compare ['{SCRATCH}'] alone. "
            f"Received: weights=None for {bare[0]!r}"
        )
    return names


def check_seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds, each once: another run with the same one would say nothing of chance."""
    if isinstance(seeds, Sequence):
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds):
            raise ValueError(
                f"`seeds` must be different whole numbers of at least 0, one at least. Received: {seeds!r}"
            )
        return list(seeds)
    count("seeds", seeds)
    return list(range(int(seeds)))


def check_settings(settings: Mapping[str, Any] | None, names: Sequence[str], tested: bool) -> dict[str, dict[str, Any]]:
    """The settings by name, with "*" for all; tested: whether there is a test split."""
    given = {name: dict(values) for name, values in (settings or {}).items()}
    for name in given:
        if name != "*" and name not in names:
            raise ValueError(f"`settings` are by strategy. {nearest(name, ['*', *names])} Received: {name!r}")
        if not tested and given[name].get("keep", "last") != "last":
            raise ValueError(
                "Without a test split the validation pictures judge, so they may choose no epoch: leave `keep` out, or give a "
                f"test split. Received: keep={given[name]['keep']!r} for {name!r}"
            )
    return given
