"""A line chart as plain numbers for the report's SVG: sharp at any size, and its colours follow light and dark."""

import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 420.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 26.0


def chart(
    title: str, epochs: Sequence[int], lines: dict[str, Sequence[float | None]], marked: int | None = None
) -> dict[str, Any]:
    """Points, ticks and labels of one chart in a box of WIDTH by HEIGHT.

    lines: values by label, one an epoch, None where there is none. marked: an epoch to draw a vertical line at.
    """
    values = [value for line in lines.values() for value in line if value is not None and math.isfinite(value)]
    ticks = nice_ticks(min(values), max(values)) if values else [0.0, 1.0]
    low, high = ticks[0], ticks[-1]
    first, last = min(epochs, default=1), max(epochs, default=1)

    def across(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    drawn = []
    for label, line in lines.items():
        pairs = [(e, v) for e, v in zip(epochs, line, strict=False) if v is not None and math.isfinite(v)]
        points = [(across(epoch), up(value)) for epoch, value in pairs]
        drawn.append({"label": label, "points": points, "last": f"{pairs[-1][1]:.3f}" if pairs else "none"})
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0])))
    return {
        "title": title,
        "lines": drawn,
        "y": [(up(tick), f"{tick:.{digits}f}") for tick in ticks],
        "x": [(across(tick), str(tick)) for tick in whole_ticks(first, last)],
        "marked": None if marked is None else across(marked),
    }


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
