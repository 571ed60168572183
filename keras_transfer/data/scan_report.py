"""What a scan says: findings with their files, counts and sizes; as JSON, as text, and as a table in a notebook."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ..core.files import write_json
from .kinds import ERROR, SEVERITIES, WARNING

FORMAT = 1
LISTED = 5  # files, or groups, of a finding in the text
_HEADINGS = {"error": "Errors: fit refuses these", "warning": "Warnings", "note": "Notes: dealt with, but good to know"}


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: its sentence, and the files in groups (a group of one, or of those that are alike)."""

    kind: str
    severity: str  # "error", "warning" or "note"
    text: str
    files: list[list[str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many times it was found."""
        return len(self.files)


@dataclass(frozen=True)
class ScanReport:
    """What is in a folder of pictures, and what is wrong with it.

    classes: {name: {split: count}} of readable pictures, the split "all" where there are none. sizes: None without a
    picture, else "median", "smallest" and "largest" as [height, width], and "aspect" as [min, median, max] of width /
    height. `findings` stand in the order errors, warnings, notes.

    Example: `print(kt.scan_folder("photos/"))`
    """

    folder: str
    files: int
    pictures: int
    seconds: float
    classes: dict[str, dict[str, int]]
    sizes: dict[str, list[Any]] | None
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What `fit` refuses."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        """What spoils a training or its figures without stopping it."""
        return [finding for finding in self.findings if finding.severity == WARNING]

    def get(self, kind: str) -> list[list[str]]:
        """The files of one kind of finding, in groups; empty where it was not found."""
        return next((finding.files for finding in self.findings if finding.kind == kind), [])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it (`scan.json`)."""
        findings = [
            {"kind": one.kind, "severity": one.severity, "text": one.text, "files": one.files, "count": one.count}
            for one in self.findings
        ]
        return {
            "format": FORMAT, "folder": printable(self.folder), "files": self.files, "pictures": self.pictures,
            "seconds": round(self.seconds, 3), "classes": self.classes, "sizes": self.sizes, "findings": findings,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ScanReport":
        """The report that `to_dict` gave, or `ValueError` where it is of another format."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            received = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"A scan is a dictionary of format {FORMAT}; scan the folder anew. Received: {received!r}")
        findings = [Finding(one["kind"], one["severity"], one["text"], one["files"]) for one in value["findings"]]
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name != "findings"}, findings=findings)

    def save(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON; `ScanReport.load` reads it."""
        return write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "ScanReport":
        """Read what `save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text("utf-8")))

    def __str__(self) -> str:
        return "\n".join([_title(self), "", *_columns(_counts(self)), *_sizes(self), *_told(self)])

    def __repr__(self) -> str:
        return f"<ScanReport: {_title(self)}; {_summary(self)}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.severity}</td><td>{one.count}</td><td>{escape(one.text)}</td>"
            f"<td>{escape('; '.join(_lines(one, 3)))}</td></tr>"
            for one in self.findings
        )
        head, *body = _counts(self)
        counts = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        return (
            f"<div>{escape(_title(self))}; {_summary(self)}</div><table><tr>{heads}</tr>{counts}</table>"
            f"<table><tr><th>severity</th><th>count</th><th>what</th><th>files</th></tr>{rows}</table>"
        )


def printable(path: str) -> str:
    """A path that can be printed and written, also where its bytes are not UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def _title(report: ScanReport) -> str:
    return (
        f"{printable(report.folder)}: {report.pictures:,} pictures of {len(report.classes)} classes in {report.files:,} files, "
        f"{report.seconds:.1f} s"
    )


def _summary(report: ScanReport) -> str:
    counts = [f"{sum(one.severity == s for one in report.findings)} kinds of {s}s" for s in SEVERITIES]
    return ", ".join(counts) if report.findings else "nothing found wrong"


def _counts(report: ScanReport, shown: int = 20) -> list[list[str]]:
    splits = list(dict.fromkeys(split for counts in report.classes.values() for split in counts))
    rows = [[name, *(str(counts.get(split, 0)) for split in splits)] for name, counts in report.classes.items()]
    more = [[f"({len(rows) - shown} more)", *[""] * len(splits)]] if len(rows) > shown else []
    total = ["total", *(str(sum(counts.get(split, 0) for counts in report.classes.values())) for split in splits)]
    return [["class", *splits], *rows[:shown], *more, total]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _sizes(report: ScanReport) -> list[str]:
    if report.sizes is None:
        return []
    sizes = [f"{name} {report.sizes[name][0]} x {report.sizes[name][1]}" for name in ("median", "smallest", "largest")]
    low, middle, high = report.sizes["aspect"]
    return ["", f"height x width: {', '.join(sizes)}; width / height {low:.2f} to {high:.2f}, median {middle:.2f}"]


def _told(report: ScanReport) -> list[str]:
    lines: list[str] = []
    for severity in SEVERITIES:
        found = [one for one in report.findings if one.severity == severity]
        if found:
            lines += ["", _HEADINGS[severity]]
        for one in found:
            lines += [f"  {one.count:>5}  {one.text}", *(f"           {line}" for line in _lines(one, LISTED))]
    return lines or ["", "Nothing found wrong."]


def _lines(finding: Finding, most: int) -> list[str]:
    lines = [" = ".join(group[:4]) + (f" = {len(group) - 4} more" if len(group) > 4 else "") for group in finding.files]
    return lines[:most] + ([f"... and {len(lines) - most} more"] if len(lines) > most else [])
