"""What a scan found in the pictures of a run, for its report: the content of `scan.json` in an order to read."""

from typing import Any

SEVERITIES = ("error", "warning", "note")
FILES, GROUPS = 4, 6  # names and groups of a finding that are shown


def findings(scan: dict[str, Any]) -> dict[str, Any] | None:
    """The counts and the findings of a scan, the gravest first; None where there was no scan.

    Raises `ValueError` where the content is not that of a scan that we know.
    """
    if not scan:
        return None
    rows = scan.get("findings")
    if scan.get("format") != 1 or not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise ValueError(f"scan.json must be a scan of format 1. Received: format={scan.get('format')!r}")
    lacking = [key for key in ("files", "pictures") if key not in scan]
    lacking += [key for one in rows for key in ("severity", "text") if key not in one]
    if lacking:
        raise ValueError(f"scan.json must be whole; scan the folder anew. Received: one without {lacking[0]!r}")
    if unknown := sorted({str(one.get("severity")) for one in rows} - set(SEVERITIES)):
        raise ValueError(f"A finding in scan.json is an error, a warning or a note. Received: {', '.join(unknown)}")
    classes = scan.get("classes", {})
    splits = list(dict.fromkeys(split for counts in classes.values() for split in counts))
    largest = max((count for counts in classes.values() for count in counts.values()), default=1) or 1
    return {
        "files": scan["files"],
        "pictures": scan["pictures"],
        "sizes": scan.get("sizes") or {},
        "splits": splits,
        "classes": [
            {"name": name, "counts": [counts.get(split, 0) for split in splits]} for name, counts in classes.items()
        ],
        "largest": largest,
        "rows": [_row(one) for one in sorted(rows, key=lambda one: SEVERITIES.index(one["severity"]))],
    }


def _row(finding: dict[str, Any]) -> dict[str, Any]:
    groups = [[str(file) for file in group] for group in finding.get("files", [])]
    shown = [_names(group) for group in groups[:GROUPS]]
    return {
        "severity": finding["severity"],
        "text": finding["text"],
        "groups": shown,
        "more": max(0, len(groups) - GROUPS),
    }


def _names(group: list[str]) -> str:
    rest = len(group) - FILES
    return " = ".join(group[:FILES]) + (f" and {rest} more" if rest > 0 else "")
