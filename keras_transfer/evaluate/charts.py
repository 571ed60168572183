"""The charts of the report as plain numbers for its SVG: sharp at any size, and their colours follow light and dark."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from .calibration import Bin

WIDTH, HEIGHT = 420.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 26.0
NAME_LINE, LETTER = 15, 6.6  # of a stage's name above the box: a line of text, a letter
SIDE, COUNTS = 260.0, 44.0  # of the reliability diagram: its square, and the counts below
LONGEST = 24  # letters of a stage's name that are shown


def chart(
    title: str,
    epochs: Sequence[int],
    lines: dict[str, Sequence[float | None]],
    marked: int | None = None,
    stages: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Points, ticks and labels of one chart in a box of WIDTH by HEIGHT, and `above` it room for the names of stages.

    lines: values by label, one an epoch, None where there is none. marked: an epoch to draw a vertical line at.
    stages: those of a history, `first_epoch` counted as `epochs` are.
    """
    values = [value for line in lines.values() for value in line if value is not None and math.isfinite(value)]
    ticks = nice_ticks(min(values), max(values)) if values else [0.0, 1.0]
    low, high = ticks[0], ticks[-1]
    first, last = min(epochs, default=1), max(epochs, default=1)

    def across(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def share_of(epoch: float) -> float:
        return (across(epoch) - LEFT) / (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    drawn = []
    for label, line in lines.items():
        pairs = [(e, v) for e, v in zip(epochs, line, strict=False) if v is not None and math.isfinite(v)]
        points = [(across(epoch), up(value)) for epoch, value in pairs]
        drawn.append({"label": label, "points": points, "last": f"{pairs[-1][1]:.3f}" if pairs else "none"})
    names = stage_names(stages, last, share_of, LETTER / (WIDTH - LEFT - RIGHT))
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0])))
    return {
        "title": title,
        "lines": drawn,
        "y": [(up(tick), f"{tick:.{digits}f}") for tick in ticks],
        "x": [(across(tick), str(tick)) for tick in whole_ticks(first, last)],
        "marked": None if marked is None else across(marked),
        "stages": [
            {
                "name": one["name"],
                "line": across(one["start"]) if one["line"] else None,
                "x": round(LEFT + one["left"] * (WIDTH - LEFT - RIGHT), 1),
                "y": TOP - 5 - NAME_LINE * one["row"],
            }
            for one in names
        ],
        "above": NAME_LINE * (1 + max(one["row"] for one in names)) if names else 0,
    }


def reliability_chart(bins: Sequence[Bin]) -> dict[str, Any]:
    """The reliability diagram in a square of SIDE, and below it the counts in a strip of COUNTS.

    A bar a bin that holds answers: `x` and `width`, the `top` of its accuracy, the `confidence` that it should reach,
    `sure` where it says more than it holds, the `share` of the answers as a height in the strip, and a `title`.
    """
    most = max(one.count for one in bins)

    def up(value: float) -> float:
        return round(TOP + (SIDE - TOP) * (1 - value), 1)

    bars = []
    for one in bins:
        if one.accuracy is not None and one.confidence is not None:
            bars.append(
                {
                    "x": round(LEFT + one.low * SIDE + 1, 1),
                    "width": round((one.high - one.low) * SIDE - 2, 1),
                    "top": up(one.accuracy),
                    "confidence": up(one.confidence),
                    "sure": one.confidence > one.accuracy,
                    "share": round(max(1.0, (COUNTS - 8) * one.count / most), 1),
                    "title": f"{one.count} answers: confidence {one.confidence:.2f}, accuracy {one.accuracy:.2f}",
                }
            )
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    return {
        "bars": bars,
        "y": [(up(tick), f"{tick:g}") for tick in ticks],
        "x": [(round(LEFT + tick * SIDE, 1), f"{tick:g}") for tick in ticks],
        "bottom": SIDE,
        "right": LEFT + SIDE,
        "strip": SIDE + COUNTS,
        "width": LEFT + SIDE + RIGHT,
        "height": SIDE + COUNTS + BOTTOM,
    }


def stage_names(
    stages: Sequence[dict[str, Any]], last: float, share_of: Callable[[float], float], letter: float
) -> list[dict[str, Any]]:
    """Where each stage of several begins (`start`, an epoch) and where its name has room; one stage needs no name.

    The line between two stages lies between their epochs; a stage that begins after the epoch `last` did not run.
    share_of: how far across the chart an epoch lies, 0 to 1. letter: the width of a letter in the same unit. A name
    begins at its stage (`left`, a share), further left where the chart would end before it, and stands in the lowest
    `row` in which it touches no other.
    """
    stages = [stage for stage in stages if stage["first_epoch"] <= last]
    if len(stages) < 2:
        return []
    found: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        name = shortened(str(stage["name"]))
        start = stage["first_epoch"] - 0.5
        wide = letter * (len(name) + 1)
        left = max(0.0, min(share_of(start) if number else 0.0, 1.0 - wide))
        taken = {one["row"] for one in found if one["left"] < left + wide and left < one["right"]}
        row = next(row for row in range(len(stages)) if row not in taken)
        found.append({"name": name, "start": start, "line": number > 0, "left": left, "right": left + wide, "row": row})
    return found


def shortened(name: str) -> str:
    """A name on one line, cut where it is long."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` + 1 round numbers, the first at or below `low`, the last at or above `high`."""
    spread = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * count >= spread * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [tick * step for tick in range(start, max(end, start + 1) + 1)]


def whole_ticks(first: int, last: int, count: int = 6) -> list[int]:
    """At most `count` + 1 whole numbers from `first` to `last`, evenly apart."""
    step = max(1, math.ceil((last - first) / count))
    return list(range(first, last + 1, step))
