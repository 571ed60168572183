"""The rows of a comparison that an earlier start finished, and what they must share with those to come."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .contender import fingerprint

NAME = "comparison.json"


def conditions(
    data: Any, bases: Mapping[str, Any], seeds: Sequence[int], given: Mapping[str, Any], parts: Mapping[str, Any]
) -> dict[str, Any]:
    """What two comparisons must share for their rows to stand in one table."""
    return {
        "data": {name: part.fingerprint for name, part in data.splits.items()},
        "backbones": {name: fingerprint(file) for name, file in bases.items()},
        "seeds": list(seeds),
        "settings": {name: {key: str(value) for key, value in values.items()} for name, values in given.items()},
        "augmentation": parts["augmentation"],
        "preprocessing": None if parts["preprocessing"] is None else str(parts["preprocessing"]),
    }


def finished(output: str | Path | None, told: dict[str, Any], export: bool) -> dict[str, Any]:
    """The rows in the `comparison.json` of `output`, by backbone and strategy; with `export` those whose file was measured.

    Raises `ValueError` where the file is that of a comparison under other conditions than `told`, or of none.
    """
    if output is None:
        return {}
    Path(output).mkdir(parents=True, exist_ok=True)
    path = Path(output) / NAME
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        settings, rows = found["settings"], found["rows"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`output` must be a new folder, or one with the {NAME} of a comparison. Received: {str(path)!r}, which is none"
        ) from None
    other = [key for key in told if settings.get(key) != told[key]]
    if other:
        raise ValueError(
            f"`output` holds a comparison with other {', '.join(other)}; give another folder, or remove {NAME}. "
            f"Received: {str(output)!r}"
        )
    whole = [row for row in rows if not export or row["bytes"] is not None or row.get("unproven")]
    return {f"{row['backbone']}/{row['strategy']}": row for row in whole}
