"""The certificates of a run, for its report: a row a precision, a column a figure that one of them has."""

from collections.abc import Callable
from typing import Any


def certificate_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The certificates of a `certificate.json`, each with `cells`: (name of the column, value in words).

    found: one certificate, or several by precision. Every row has the same columns; what a certificate does not hold is
    a dash, and a column that none holds is left out.
    """
    several = [found] if "precision" in found else [one for one in found.values() if isinstance(one, dict)]
    whole = next((one.get("bytes") for one in several if one["precision"] == "float32"), None)
    several = [{**one, "share": _share(one, whole)} for one in several]
    cells = [[(name, figure(one)) for name, figure in COLUMNS] for one in several]
    kept = [any(row[place][1] for row in cells) for place in range(len(COLUMNS))]
    rows = []
    for one, row in zip(several, cells, strict=True):
        shown = [(name, value or "–") for (name, value), keep in zip(row, kept, strict=True) if keep]
        rows.append({**one, "cells": shown})
    return rows


def _share(one: dict[str, Any], whole: int | None) -> float | None:
    """The bytes as a share of those of the float32 file, where it is another one and there."""
    return one["bytes"] / whole if whole and one.get("bytes") and one["precision"] != "float32" else None


def _size(one: dict[str, Any]) -> str:
    count = one.get("bytes")
    if not count:
        return ""
    size = f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
    return size if one["share"] is None else f"{size} ({100 * one['share']:.0f} %)"


def _difference(one: dict[str, Any]) -> str:
    if one.get("max_difference") is None:
        return ""
    bound = one.get("tolerance")
    return f"{one['max_difference']:.2g}" + (f" (at most {bound:g})" if bound else "")


def _agreement(one: dict[str, Any]) -> str:
    if one.get("top1_agreement") is None:
        return ""
    least = one.get("least_agreement")
    bound = f" (at least {100 * least:g})" if least not in (None, 1.0) else ""
    return f"{100 * one['top1_agreement']:.4g} %{bound}" + (f", {one['ties']} ties apart" if one.get("ties") else "")


def _accuracy(one: dict[str, Any]) -> str:
    before, after = one.get("accuracy_before"), one.get("accuracy_after")
    return "" if before is None or after is None else f"{100 * before:.1f} → {100 * after:.1f} %"


def _latency(one: dict[str, Any]) -> str:
    found = one.get("latency_ms") or {}
    return " / ".join(f"{found[threads]:.3g}" for threads in sorted(found)) + " ms" if found else ""


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("size", _size),
    ("largest difference", _difference),
    ("same top class", _agreement),
    ("accuracy, Keras → file", _accuracy),
    ("latency, 1 / 2 threads", _latency),
)
