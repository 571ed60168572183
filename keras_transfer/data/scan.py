"""The one pass over all files before training: which decode, a digest of their pixels, and the resized copies kept."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.progress import progress
from .pictures import InMemory, OnDisk, Pixels, parallel
from .resize import UnreadablePicture, decode, resize

MEMORY_LIMIT = 2 * 1024**3  # bytes of resized pictures that are kept; beyond, files are decoded again
LISTED = 20


@dataclass(frozen=True)
class Scan:
    """What the pass found, a row a file: digests of the pixels, keys for the fingerprint, and reasons (None: good)."""

    pixels: Pixels
    digests: list[bytes]
    keys: list[bytes]
    reasons: list[str | None]
    seconds: float


def scan(
    names: Sequence[str],
    paths: Sequence[Path],
    *,
    image_size: tuple[int, int],
    how: str = "squash",
    channels: int = 3,
    show_progress: bool | None = None,
) -> Scan:
    """Decode every file once, in threads; keep the resized pictures where they take at most `MEMORY_LIMIT` bytes."""
    start = time.perf_counter()
    shape = (len(paths), *image_size, channels)
    kept = np.empty(shape, np.uint8) if np.prod(shape, dtype=np.int64) <= MEMORY_LIMIT else None

    def look(row: int) -> tuple[bytes, bytes, str | None]:
        try:
            picture = decode(paths[row], channels)
            state = os.stat(paths[row])
            name = names[row].encode()
        except UnreadablePicture as error:
            return b"", b"", error.reason
        except UnicodeEncodeError:
            return b"", b"", "its name is not UTF-8"
        except OSError as error:
            return b"", b"", str(error.strerror)
        if kept is not None:
            kept[row] = resize(picture, image_size, how)
        digest = pixel_digest(picture)
        key = hashlib.sha256(b"%s\0%d\0%d\0" % (name, state.st_size, state.st_mtime_ns) + digest).digest()
        return digest, key, None

    rows = progress(parallel(look, range(len(paths))), total=len(paths), text="Reading pictures", show=show_progress)
    digests, keys, reasons = (list(column) for column in zip(*rows, strict=True))
    pixels = OnDisk(paths, image_size, how, channels) if kept is None else InMemory(kept)
    return Scan(pixels, digests, keys, reasons, time.perf_counter() - start)


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


def bulleted(lines: Sequence[str]) -> str:
    """Up to 20 lines of a list, and how many more there are."""
    more = [f"  ... and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([f"  {line}" for line in lines[:LISTED]] + more)
