"""A finished run once more as `.tflite`: in the precisions that are asked for, or in the one that fits a size."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .folder import RunFailed
from .opening import SAMPLE
from .reporting import report_run
from .runs import labels_of, open_run
from .tasks import task_of


def export_run(
    run: str | Path,
    precisions: str | Sequence[str] = ("float32",),
    *,
    data: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Any]:
    """Export a run again and prove it on its held-out pictures, which are read again (from `data` where they have
    moved); int8 is calibrated on its training pictures. The certificates come back, one a precision; `say` gets each, also
    those beside one that fails.

    Raises `RunFailed` where a certificate fails, when all precisions are through; the reason then stands in
    `certificate.json`.

    Example: `kt.pipeline.export_run("saved_models/flowers", ["float16", "int8"])`
    """
    from ..export.precisions import check_precision
    from .writing import certify_all

    names = [precisions] if isinstance(precisions, str) else list(precisions)
    if not names:
        raise ValueError("There must be at least one precision to export. Received: none")
    for name in names:
        check_precision(name)
    path, model, pictures = _open(run, data)
    certificates, failures = certify_all(path, model, pictures, names)
    _renew(path, data)
    for certificate in certificates:
        say(str(certificate))
    if failures:
        raise RunFailed(" ".join(failures))
    return certificates


def compress_run(
    run: str | Path, size: int | str, *, accuracy_drop: float | None = 0.01, data: str | Path | None = None
) -> Any:
    """Export a run in the precision that is best among those of at most `size` bytes (or "2MB"), as `kt.compress_to` does.

    The file and its certificate are added to the run; what was tried comes back. Raises `RunFailed` with the table where
    nothing fits.
    """
    from ..export import CompressionError, compress_to
    from ..export.sizes import parse_size
    from .writing import add_certificate

    parse_size(size)  # before minutes are spent
    path, model, pictures = _open(run, data)
    try:
        ladder = compress_to(model, path, data=pictures, size=size, accuracy_drop=accuracy_drop)
    except CompressionError as error:
        raise RunFailed(str(error)) from None
    add_certificate(path, ladder.chosen)
    _renew(path, data)
    return ladder


def tell_exports(run: Path, say: Callable[[str], None]) -> None:
    """A line for each export of a run: file, size, and what its certificate says."""
    found = json.loads((run / "certificate.json").read_text(encoding="utf-8"))
    for one in found.values():
        if one["passed"]:
            accuracy = one.get("accuracy_after")
            told = "" if accuracy is None else f", accuracy {accuracy:.4f}"
            noun = "texts" if "length" in one else "pictures"
            say(f"{one['file']}: {one['bytes'] / 1e6:.2f} MB, passed on {one['pictures']} {one['split']} {noun}{told}")


def _renew(run: Path, data: str | Path | None) -> None:
    """The report of the run holds its certificates."""
    report_run(run, data=data, say=lambda text: None)


def _open(run: str | Path, data: str | Path | None) -> tuple[Path, Any, Any]:
    """Folder, model and pictures of a run; a `ValueError` where the pictures are not those that it was made from."""
    path, config = open_run(run)
    from ..core.saving import load

    place = str(data or config["data"])
    if not place.startswith(SAMPLE) and not Path(place).exists():
        raise ValueError(
            f"The {task_of(config).NOUN}s of the run have moved; say where they are with --data. Received: {place!r}"
        )
    model = load(path)
    pictures = task_of(config).read_for({**config, "data": place}, model)
    split, held_out = pictures.held_out
    with open(path / "split.csv", newline="", encoding="utf-8") as file:
        meant = sorted(row["path"] for row in csv.DictReader(file) if row["split"] == split)
    if sorted(held_out.names) != meant:
        raise ValueError(
            f"The data must be that of the run, its files called as then: its {split} {task_of(config).NOUN}s are others. "
            f"Received: {pictures!r}"
        )
    if list(pictures.class_names) != labels_of(path):
        raise ValueError(
            f"The data must hold the classes of the run, {labels_of(path)}. Received: {list(pictures.class_names)}"
        )
    return path, model, pictures
