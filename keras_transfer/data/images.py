"""A folder of photos, or arrays, as train, validation and test: `load_images` and `ImageData`."""

import numbers
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import read_arrays
from .assemble import Table, make_splits, settle
from .folders import read_folder
from .pictures import InMemory, Pictures, dataset
from .reading import read, refuse_unreadable
from .resize import check_image_size, check_resize
from .scan import scan_of_arrays, scan_of_folder
from .scan_report import ScanReport
from .split import check_fraction
from .splits import SplitData


class ImageData(SplitData):
    """Pictures with labels, split; what `load_images` and `ImageData.from_arrays` return and every fit takes.

    `splits` maps "train", "validation" and, where given, "test" to `Pictures` (by index); `train`, `validation` and
    `test` are the same as `tf.data.Dataset` of float32 pictures in 0..255 (B, height, width, channels) and labels.
    `train` is shuffled anew with the seed every time it is read, the others keep their order. `skipped` lists (path,
    reason) of what was left out, `seconds` is what reading the folder took. `scan` is what the same pass found of
    damage, duplicates, imbalance and odd sizes.
    """

    def __init__(
        self, class_names: Sequence[str], splits: dict[str, Pictures], *, image_size: tuple[int, int], channels: int,
        resize: str = "squash", batch_size: int = 32, seed: int = 0, labels: str = "int",
        skipped: Sequence[tuple[str, str]] = (), seconds: float = 0.0, scan: Callable[[], ScanReport] | None = None,
    ) -> None:  # fmt: skip
        self.class_names, self.splits = tuple(class_names), splits
        self.image_size, self.channels, self.resize = image_size, channels, resize
        self.batch_size, self.seed, self.labels = batch_size, seed, labels
        self.skipped, self.seconds, self._scan = list(skipped), seconds, scan

    @classmethod
    def from_arrays(
        cls, x: Any, y: Any, *, class_names: Sequence[str] | None = None, validation: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None, image_size: int | tuple[int, int] | None = None, resize: str = "squash",
        batch_size: int = 32, validation_fraction: float = 0.2, seed: int = 0, labels: str = "int",
        on_bad: str = "raise",
    ) -> "ImageData":  # fmt: skip
        """Pictures (n, h, w[, C]), uint8 or float 0..255 (rounded to whole levels), with integer or one-hot labels.

        Without `class_names` the classes are called "0", "1", ...; without `validation` a stratified part of `x` is
        held out. The rules about equal pictures are those of `load_images`; names are "train[17]", counted within the
        argument (a picture of `x` that is held out keeps its name). Whatever does not fit is a `ValueError`.

        Example: `ImageData.from_arrays(*kt.data.digits(), image_size=32)`
        """
        check_settings(batch_size=batch_size, seed=seed, labels=labels, on_bad=on_bad)
        fraction = check_fraction(validation_fraction)
        parts = {"train": (x, y), "validation": validation, "test": test}
        given = {split: pair for split, pair in parts.items() if pair is not None}
        table, pixels = read_arrays(given, class_names, image_size, check_resize(resize))
        settle(table, fraction=fraction, seed=seed, skip=on_bad == "skip")
        height, width, channels = pixels.shape[1:]
        recipe = f"{(height, width)} {channels} {resize} arrays"
        sizes = [size for pictures, _ in given.values() for size in [np.shape(pictures)[1:3]] * len(pictures)]
        return cls(
            table.class_names,
            make_splits(table, InMemory(pixels), one_hot=labels == "onehot", recipe=recipe),
            image_size=(height, width), channels=channels, resize=resize, batch_size=batch_size, seed=seed,
            labels=labels, skipped=table.named_skips(), scan=lambda: scan_of_arrays(table, sizes, pixels),
        )  # fmt: skip

    @cached_property
    def scan(self) -> ScanReport | None:
        """The report of `kt.scan_folder` on these very pictures and splits, without decoding any again; None where unknown.

        Near-duplicates are looked for when it is first asked for. Of arrays there are classes, sizes and duplicates.
        """
        return self._scan() if self._scan else None

    def _what(self) -> tuple[str, str]:
        height, width = self.image_size
        return "pictures", f", {height} x {width} x {self.channels} ({self.resize})"

    def _dataset(self, split: str, shuffle: bool = False) -> Any:
        return dataset(self.splits[split], self.batch_size, shuffle=shuffle, seed=self.seed)


def load_images(
    path: str | Path, *, image_size: int | tuple[int, int] = 224, resize: str = "squash", channels: int = 3,
    batch_size: int = 32, validation_fraction: float = 0.2, seed: int = 0, on_bad: str = "raise", labels: str = "int",
    show_progress: bool | None = None,
) -> ImageData:  # fmt: skip
    """Read a folder of pictures: a sub-folder a class, with or without train/, val/ and test/ above.

    Every file is decoded once. Without a val folder a stratified share of train (`validation_fraction`, seeded) is held
    out. `on_bad="raise"` stops with the list of files that are no sound pictures, or that are in two splits; `"skip"`
    leaves them out (a picture in train and val stays in val), counts and names them in `ImageData.skipped`. The same
    picture under two labels is always an error. `image_size` is one number or (height, width); `resize` is "squash",
    "crop" or "pad"; `channels` 1 (grey), 3 or 4; `labels` "int" or "onehot". Raises `ValueError` for bad input, with a
    sentence for each thing that can be wrong.

    Example: `data = kt.load_images("photos/", image_size=224)`
    """
    check_settings(batch_size=batch_size, seed=seed, labels=labels, on_bad=on_bad)
    fraction, size, how = check_fraction(validation_fraction), check_image_size(image_size), check_resize(resize)
    if channels not in (1, 3, 4):
        raise ValueError(f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA). Received: {channels!r}")
    folder = read_folder(path)
    found = read(folder.names, folder.paths, image_size=size, how=how, channels=channels, show_progress=show_progress)
    table = Table(
        folder.class_names, folder.names, folder.labels, folder.splits, found.digests, found.keys, repr(str(path)),
        skipped={row: reason for row, reason in enumerate(found.reasons) if reason},
    )  # fmt: skip
    if on_bad == "raise":
        refuse_unreadable(table.named_skips(), folder.root)
    settle(table, fraction=fraction, seed=seed, skip=on_bad == "skip")
    splits = make_splits(table, found.pixels, one_hot=labels == "onehot", recipe=f"{size} {channels} {how} files")
    return ImageData(
        folder.class_names, splits, image_size=size, channels=channels, resize=how, batch_size=batch_size, seed=seed,
        labels=labels, skipped=table.named_skips(), seconds=found.seconds,
        scan=lambda: scan_of_folder(folder, table.splits, found.looks, found.seconds),
    )  # fmt: skip


def check_settings(*, batch_size: object, seed: object, labels: object, on_bad: object) -> None:
    """Refuse what all data sets here are told in wrong words."""
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}. Received: {value!r}")
    if labels not in ("int", "onehot"):
        raise ValueError(f"labels must be 'int' or 'onehot'. Received: {labels!r}")
    if on_bad not in ("raise", "skip"):
        raise ValueError(f"on_bad must be 'raise' or 'skip'. Received: {on_bad!r}")
