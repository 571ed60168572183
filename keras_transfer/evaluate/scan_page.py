"""The page of a scan: each finding with its pictures, in one file without script or network."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_write
from ..data.kinds import SEVERITIES
from ..data.pictures import parallel
from ..data.scan_report import Finding, ScanReport

GROUPS = 24  # of a finding that are shown with pictures; the others are listed by name
TOGETHER = 6  # pictures of a group
LISTED = 500
SIDE = 224  # pixels of an embedded picture
# The kinds whose files can be looked at; the others do not decode, or speak of classes.
PICTURED = {"two_labels", "two_splits", "outside_classes", "near_two_labels", "near_two_splits", "blank", "small"}
PICTURED |= {"stretched", "duplicate", "near_duplicate", "rotated", "cmyk", "sixteen_bit", "palette", "transparent"}
PICTURED |= {"animated", "wrong_extension"}
HEADINGS = {
    "error": (
        "Errors",
        "A training refuses these; --on-bad skip leaves out files that do not decode and pictures in two splits.",
    ),
    "warning": ("Warnings", "A training starts, but it, or its figures, will be the worse for these."),
    "note": ("Notes", "These are dealt with; good to know."),
}


def write_scan_page(
    report: ScanReport, path: str | Path, pictures: Callable[[str], np.ndarray | None] | None = None
) -> Path:
    """Write the findings with their pictures as one self-contained HTML page, and return its path.

    pictures: gives the uint8 picture (height, width, channels) of a name in the report, or None; by default the files
    are read from the folder that was scanned. What cannot be read any more is shown by its name.

    Example: `kt.evaluate.write_scan_page(kt.scan_folder("photos/"), "scan.html")`
    """
    import jinja2

    look = pictures or (lambda name: _from_disk(Path(report.folder), name))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [
        {"severity": severity, "title": HEADINGS[severity][0], "about": HEADINGS[severity][1], "findings": findings}
        for severity in SEVERITIES
        if (findings := [_shown(one, look) for one in report.findings if one.severity == severity])
    ]
    splits = list(dict.fromkeys(split for counts in report.classes.values() for split in counts))
    most = max((count for counts in report.classes.values() for count in counts.values()), default=1)
    context = {"report": report, "sections": sections, "splits": splits, "most": max(most, 1)}
    page = environment.get_template("scan.html.j2").render(title=Path(report.folder).resolve().name, **context)
    return atomic_write(path, page.encode("utf-8", "backslashreplace"))


def _shown(finding: Finding, look: Callable[[str], np.ndarray | None]) -> dict[str, Any]:
    """A finding with its first groups as pictures, and the rest as names."""
    chosen = finding.files[:GROUPS] if finding.kind in PICTURED else []
    uris = dict(_uris(look, [name for group in chosen for name in group[:TOGETHER]]))
    groups = [
        {
            "pictures": [{"name": name, "uri": uris[name]} for name in group[:TOGETHER]],
            "more": len(group) - TOGETHER,
        }
        for group in chosen
    ]
    rest = finding.files[len(chosen) :]
    names = [" = ".join(group) for group in rest[:LISTED]]
    return {"finding": finding, "groups": groups, "names": names, "more": len(rest) - len(names)}


def _uris(look: Callable[[str], np.ndarray | None], names: Sequence[str]) -> list[tuple[str, str | None]]:
    """Decoded in threads: a page of a messy folder shows a few hundred pictures."""
    return list(zip(names, parallel(lambda name: _uri(look(name)), names), strict=True))


def _from_disk(folder: Path, name: str) -> np.ndarray | None:
    from ..data.resize import UnreadablePicture, decode

    try:
        return decode(folder / name)
    except (UnreadablePicture, OSError, ValueError):
        return None  # it has gone since, or its name was not UTF-8: the finding is still told


def _uri(picture: np.ndarray | None) -> str | None:
    from PIL import Image

    if picture is None:
        return None
    pixels = picture[..., 0] if picture.shape[-1] == 1 else picture[..., :3]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
