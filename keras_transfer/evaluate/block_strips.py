"""Which blocks each stage froze, fine-tuned and trained, and at what rate: the strips of the report and of a figure."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

FROZEN = "frozen"
STATES = {FROZEN: "frozen", "fine-tuned": "fine-tuned", "trained": "trained new"}
LOWEST, SLOWEST = 0.14, 0.3  # the height of a frozen block, and of the block with the lowest rate; the highest has 1


def stages_of(history: Any) -> list[dict[str, Any]]:
    """The stages that say what they did with each block, from a History or the content of a `history.json`."""
    found = history.get("stages") if isinstance(history, dict) else getattr(history, "stages", None)
    return [stage for stage in found or [] if stage.get("blocks")]


def strips(stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A strip a stage: `name`, `epochs`, `told` in words, and a cell a block with `state`, `height` (0..1) and `title`.

    The height is the learning rate on a logarithmic scale that all strips share; a frozen block has the lowest.
    """
    rates = [block["learning_rate"] for stage in stages for block in stage["blocks"] if block["learning_rate"]]
    low, high = (math.log(min(rates)), math.log(max(rates))) if rates else (0.0, 0.0)

    def height(block: dict[str, Any]) -> float:
        if block["state"] == FROZEN:
            return LOWEST
        if not block["learning_rate"] or high == low:
            return 1.0
        return round(SLOWEST + (1 - SLOWEST) * (math.log(block["learning_rate"]) - low) / (high - low), 3)

    return [
        {
            "name": stage["name"],
            "epochs": stage["epochs"],
            "told": told(stage["blocks"]),
            "cells": [
                {"state": block["state"], "height": height(block), "title": f"{block['name']}: {state_of(block)}"}
                for block in stage["blocks"]
            ],
        }
        for stage in stages
    ]


def told(blocks: Sequence[dict[str, Any]]) -> str:
    """The blocks of a stage in words, neighbours in one state together."""
    parts = []
    for state, neighbours in groupby(blocks, key=lambda block: block["state"]):
        group = list(neighbours)
        rates = [block["learning_rate"] for block in group if block["learning_rate"]]
        ends = [f"{rate:.3g}" for rate in dict.fromkeys((min(rates), max(rates)))] if rates else []
        at = f" at {' to '.join(ends)}" if ends else ""
        parts.append(f"{span([block['name'] for block in group])} {STATES.get(state, state)}{at}")
    return ", ".join(parts)


def span(names: Sequence[str]) -> str:
    """Neighbouring blocks by name: the one, or the first, the last and how many."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} blocks)"


def state_of(block: dict[str, Any]) -> str:
    """What became of one block: its state, and its rate where it has one."""
    rate = block["learning_rate"]
    return STATES.get(block["state"], block["state"]) + (f" at {rate:.3g}" if rate else "")


def table(stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a run of blocks that every stage treated alike: `name`, and a cell a stage with `state` and `told`.

    Stages of different models (their blocks have other names) have no table.
    """
    names = [[block["name"] for block in stage["blocks"]] for stage in stages]
    if any(one != names[0] for one in names):
        return []
    rows = zip(*(stage["blocks"] for stage in stages), strict=True)
    found = []
    for _, neighbours in groupby(rows, key=lambda row: [(block["state"], block["learning_rate"]) for block in row]):
        group = list(neighbours)
        cells = [{"state": block["state"], "told": state_of(block)} for block in group[0]]
        found.append({"name": span([row[0]["name"] for row in group]), "cells": cells})
    return found
