"""The one pass over all files before training: what each is, a digest of its pixels, and the resized copies kept."""

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.progress import progress
from .decoding import Facts, UnreadablePicture, as_pixels, inspect
from .near import thumbnail
from .pictures import InMemory, OnDisk, Pixels, parallel
from .resize import resize

MEMORY_LIMIT = 2 * 1024**3  # bytes of resized pictures that are kept; beyond, files are decoded again
LISTED = 20


@dataclass(frozen=True)
class Look:
    """One file: a digest of its pixels, its size and thumbnail, what it is; or why it is no picture.

    kind and reason are None for a good file; else `kind` is that of `UnreadablePicture`, "bad_name" or "unreadable".
    """

    digest: bytes = b""
    key: bytes = b""
    size: tuple[int, int] = (0, 0)  # height, width
    facts: Facts | None = None
    thumbnail: np.ndarray | None = None  # uint8 (32, 32)
    kind: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Reading:
    """What the pass found: a `Look` a file, and the resized pictures."""

    pixels: Pixels
    looks: list[Look]
    seconds: float

    @property
    def digests(self) -> list[bytes]:
        """Of the pixels of each file; empty for files that are no pictures."""
        return [look.digest for look in self.looks]

    @property
    def keys(self) -> list[bytes]:
        """For the fingerprint: name, size, time and pixels of each file."""
        return [look.key for look in self.looks]

    @property
    def reasons(self) -> list[str | None]:
        """Why a file is no picture; None for a good one."""
        return [look.reason for look in self.looks]


def read(
    names: Sequence[str],
    paths: Sequence[Path],
    *,
    image_size: tuple[int, int],
    how: str = "squash",
    channels: int = 3,
    show_progress: bool | None = None,
) -> Reading:
    """Decode every file once, in threads; keep the resized pictures where they take at most `MEMORY_LIMIT` bytes."""
    start = time.perf_counter()
    shape = (len(paths), *image_size, channels)
    kept = np.empty(shape, np.uint8) if np.prod(shape, dtype=np.int64) <= MEMORY_LIMIT else None

    def one(row: int) -> Look:
        found, picture = look_at(names[row], paths[row], channels)
        if kept is not None and picture is not None:
            kept[row] = resize(picture, image_size, how)
        return found

    looks = _in_threads(one, len(paths), show_progress)
    pixels = OnDisk(paths, image_size, how, channels) if kept is None else InMemory(kept)
    return Reading(pixels, looks, time.perf_counter() - start)


def look_over(names: Sequence[str], paths: Sequence[Path], show_progress: bool | None = None) -> list[Look]:
    """The same looks without keeping any picture."""
    return _in_threads(lambda row: look_at(names[row], paths[row])[0], len(paths), show_progress)


def look_at(name: str, path: Path, channels: int = 3) -> tuple[Look, np.ndarray | None]:
    """Decode one file: what was found, and its pixels where it is a picture."""
    try:
        image, facts = inspect(path, channels)
        state = os.stat(path)
        encoded = name.encode()
    except UnreadablePicture as error:
        return Look(kind=error.kind, reason=error.reason), None
    except UnicodeEncodeError:
        return Look(kind="bad_name", reason="its name is not UTF-8"), None
    except OSError as error:
        return Look(kind="unreadable", reason=str(error.strerror)), None
    picture = as_pixels(image)
    digest = pixel_digest(picture)
    key = hashlib.sha256(b"%s\0%d\0%d\0" % (encoded, state.st_size, state.st_mtime_ns) + digest).digest()
    height, width = picture.shape[:2]
    return Look(digest, key, (height, width), facts, thumbnail(image)), picture


def pixel_digest(picture: np.ndarray) -> bytes:
    """A digest that two pictures share exactly when shape and pixels are equal."""
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def refuse_unreadable(unreadable: Sequence[tuple[str, str]], folder: Path) -> None:
    """Raise one error for all unreadable files: the first 20 with their reasons, and how to go on without them."""
    if not unreadable:
        return
    lines = [f"{name}: {reason}" for name, reason in unreadable]
    raise ValueError(
        f"Files that cannot be read as pictures: {len(unreadable)}. Mend or remove them, or leave them out with "
        f"--on-bad skip (on_bad='skip').\n{bulleted(lines)}\nReceived: {str(folder)!r}"
    )


def bulleted(lines: Sequence[str], most: int = LISTED) -> str:
    """Up to 20 lines of a list, and how many more there are."""
    more = [f"  ... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([f"  {line}" for line in lines[:most]] + more)


def _in_threads(one: Callable[[int], Look], count: int, show_progress: bool | None) -> list[Look]:
    with warnings.catch_warnings():  # Pillow warns of bombs and of damaged EXIF; what matters is in the look
        warnings.simplefilter("ignore")
        return list(progress(parallel(one, range(count)), total=count, text="Reading pictures", show=show_progress))
