"""Sizes of files, as people write them and as they read them."""

import re

UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_size(size: int | str | None) -> int | None:
    """Bytes of `2MB` (2,000,000), `500kB`, `1.5 MiB` (1,572,864) or a number; a `ValueError` for what is none."""
    if size is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(size)) if not isinstance(size, bool) else None
    unit = UNITS.get((found[2] or "b").lower()) if found else None
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise ValueError(f"A size is a number of bytes, or one like '2MB', '500kB', '1.5MiB'. Received: {size!r}")
    return int(float(found[1]) * unit)


def in_bytes(count: int) -> str:
    """A number of bytes for people, in steps of a thousand."""
    return f"{count / 1e6:.3g} MB" if count >= 10**6 else f"{count / 1e3:.3g} kB"
