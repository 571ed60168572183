"""`keras-transfer scan`: what is in a folder of pictures, and what is wrong with it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

FOUND_ERRORS = 1


def scan(
    data: Annotated[Path, typer.Argument(help="Folder with a sub-folder of pictures for each class.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with the pictures there.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the JSON there.")] = None,
) -> None:
    """Look at every file before a training: damage, duplicates, leaks between splits, imbalance, odd sizes.

    Nothing is changed. The exit code is 1 where `fit` would refuse something, so that a script can stop there.

    \b
    Example:
      keras-transfer scan photos --html scan.html
    """
    from ..data import scan_folder

    for path in (html, output):  # before the minutes that a large folder takes
        if path is not None and not path.resolve().parent.is_dir():
            raise ValueError(f"The folder of the file to write must exist; make it first. Received: {str(path)!r}")
    report = scan_folder(data)
    if output is not None:
        report.save(output)
    if html is not None:
        from ..evaluate.scan_page import write_scan_page

        print(f"Page: {write_scan_page(report, html)}", file=sys.stderr)
    print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else report)
    if report.errors:
        raise typer.Exit(FOUND_ERRORS)
