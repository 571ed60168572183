"""`compress_to`: try the precisions one after the other, and keep the best file that is small and right enough."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from ..core.files import temporary_sibling
from .certificate import Certificate, failed
from .ladder import CompressionError, Ladder
from .making import make_subject
from .precisions import PRECISIONS
from .sizes import parse_size
from .subject import Subject
from .tflite import check_path, convert


def compress_to(
    model: keras.Model, path: str | Path, *, data: Any, size: int | str | None = None, accuracy_drop: float | None = 0.01,
    representative: Any = None, class_names: Sequence[str] | None = None, resize: str | None = None,
) -> Ladder:  # fmt: skip
    """Export `model` in the precision that fits best, and tell what was tried.

    The ladder is float32, float16, dynamic, int8. A step fits where its certificate passes, its file has at most `size`
    bytes (a number, or "2MB", "500kB", "1.5 MiB") and its accuracy on the held-out pictures of `data` is at most
    `accuracy_drop` below the Keras model's; None asks for nothing. The most accurate that fits is kept, of equal ones the
    fastest on one thread. A choice on few pictures is a rough one: one of 100 is 0.01.

    path: a file ending in ".tflite", or a folder that exists, which gets `model_<precision>.tflite`. data, representative,
    class_names, resize: as for `export_tflite`; `data` has labels. Raises `CompressionError` with the table where
    nothing fits; then no file was written.

    Example: `print(kt.compress_to(model, "phone/", size="2MB", accuracy_drop=0.01, data=data))`
    """
    folder, bound = Path(path), parse_size(size)
    if not folder.is_dir() and (folder.suffix != ".tflite" or not folder.parent.is_dir()):
        raise ValueError(
            f"`path` must be a folder that exists, or a file in one that ends in '.tflite'. Received: {str(path)!r}"
        )
    target = {name: folder / f"model_{name}.tflite" if folder.is_dir() else folder for name in PRECISIONS}
    check_path(target["float32"])
    if accuracy_drop is not None and not 0 <= accuracy_drop <= 1:
        raise ValueError(f"`accuracy_drop` must be a share from 0 to 1, or None. Received: {accuracy_drop!r}")
    subject = make_subject(model, data, class_names, resize, int8=True, representative=representative)
    if not subject.pictures.labelled:
        raise ValueError("The accuracy needs labelled pictures: pass an ImageData or (x, y). Received: pictures alone")
    descriptions = {name: subject.description(file) for name, file in target.items()}
    with tempfile.TemporaryDirectory() as workshop:
        files, certificates = _try_all(subject, Path(workshop))
        ladder = Ladder(certificates, bound, accuracy_drop)
        chosen = ladder.chosen
        if chosen is None:
            raise CompressionError(ladder)
        place = target[chosen.precision]
        with temporary_sibling(place) as temporary:
            temporary.write_bytes(files[chosen.precision].read_bytes())
    kept = replace(chosen, file=place.name)
    subject.install(place, descriptions[kept.precision], kept)
    return replace(ladder, certificates=tuple(kept if one is chosen else one for one in certificates), path=place)


def _try_all(subject: Subject, folder: Path) -> tuple[dict[str, Path], tuple[Certificate, ...]]:
    """Every precision as a file in `folder`, all compared with Keras in one pass."""
    files, found = {}, {}
    for name in PRECISIONS:
        file = folder / f"model_{name}.tflite"
        blank = subject.blank(file.name, name)
        try:
            file.write_bytes(convert(subject.inference, subject.shape, name, subject.calibration))
            files[name] = file
        except Exception as error:  # a step that cannot be converted is told, and the others are tried
            blank = failed(blank, error)
        found[name] = blank
    if files:
        measured = subject.certificates({file: found[name] for name, file in files.items()})
        found |= dict(zip(files, measured, strict=True))
    return files, tuple(found.values())
