"""Scan a folder of pictures before a training: every file decoded, and whatever is wrong with it told, without stopping."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .assemble import Table, readable
from .findings import Looked, findings, sizes
from .folders import Folder, read_folder
from .near import thumbnail
from .reading import Look, look_over
from .scan_report import ScanReport

Seconds = Callable[[], float]


def scan_folder(path: str | Path, *, show_progress: bool | None = None) -> ScanReport:
    """Look at every file below `path` (class folders, with or without train/, val/, test/ above) and report.

    Damaged, empty, mislabelled and doubled files are findings, not exceptions: so is what `load_images` would refuse.
    Severity "error" is what `fit` refuses (unless `--on-bad skip` leaves it out), "warning" spoils a training or its
    figures, "note" is dealt with. Nearly equal pictures (saved again, resized, cut by up to a twentieth, brightened,
    greyed, mirrored) are told where both sides have 32 pixels. Nothing is changed on disk. Raises `ValueError` only
    where no classes can be made out: no such folder, no sub-folder, split folders beside class folders.

    Example: `report = kt.scan_folder("photos/"); print(report); report.save("scan.json")`
    """
    start = time.perf_counter()
    told: dict[str, list[str]] = defaultdict(list)
    folder = read_folder(path, tell=lambda kind, name, sentence: told[kind].append(readable(name)))
    looks = look_over(folder.names, folder.paths, show_progress)
    return _report(folder, folder.splits, looks, told, lambda: time.perf_counter() - start)


def scan_of_folder(folder: Folder, splits: Sequence[str | None], looks: Sequence[Look], seconds: float) -> ScanReport:
    """The same report from looks that `load_images` took, with the splits that it made."""
    start = time.perf_counter()
    return _report(folder, splits, looks, {}, lambda: seconds + time.perf_counter() - start)


def scan_of_arrays(table: Table, sizes: Sequence[tuple[int, int]], pixels: np.ndarray) -> ScanReport:
    """What applies to arrays: classes, sizes and duplicates. `sizes` and `pixels` (n, h, w, C) are in the table's order."""
    start = time.perf_counter()
    rows = zip(table.digests, sizes, pixels, strict=True)
    looks = [Look(digest, size=size, thumbnail=thumbnail(picture)) for digest, size, picture in rows]
    looked = Looked(table.class_names, table.names, table.labels, table.splits, looks)
    return _made("arrays", looked, {}, lambda: time.perf_counter() - start)


def _report(
    folder: Folder, splits: Sequence[str | None], looks: Sequence[Look], told: dict[str, list[str]], seconds: Seconds
) -> ScanReport:
    told = {**told, "ignored": [name for name in _ignored(folder) if name not in told.get("outside_classes", ())]}
    names = [readable(name) for name in folder.names]
    return _made(str(folder.root), Looked(folder.class_names, names, folder.labels, splits, looks), told, seconds)


def _made(where: str, looked: Looked, told: dict[str, list[str]], seconds: Seconds) -> ScanReport:
    found = findings(looked, told)
    counts, spread = looked.counts(), sizes(looked.looks)
    return ScanReport(where, len(looked.looks), len(looked.good), seconds(), counts, spread, found)


def _ignored(folder: Folder) -> list[str]:
    """Names of the files that nobody reads: hidden, of the system, or beside the classes; links are not followed."""
    known, found = set(folder.names), []
    for above, _, files in os.walk(folder.root):
        names = ((Path(above) / file).relative_to(folder.root).as_posix() for file in files)
        found += [readable(name) for name in names if name not in known]
    return sorted(found)
