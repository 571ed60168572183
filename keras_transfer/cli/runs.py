"""`keras-transfer list`: the runs in a folder, or the backbones to start from."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer


def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the runs.")] = Path("saved_models"),
    backbones: Annotated[
        bool, typer.Option("--backbones", help="List the backbones of the catalogue instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs in a folder, the newest first, or the backbones to start from.

    \b
    Examples:
      keras-transfer list saved_models
      keras-transfer list --backbones
    """
    if backbones:
        _list_backbones(as_json)
        return
    from .. import pipeline

    runs = pipeline.list_runs(folder)
    print(json.dumps(runs, indent=2, ensure_ascii=False) if as_json else _table(runs) or f"No runs in {folder}.")


def _list_backbones(as_json: bool) -> None:
    from ..backbones.catalog_table import table, text_table

    pictures, texts = table(), text_table()
    if as_json:
        rows = [{**row, "task": "images"} for row in pictures.rows] + [{**row, "task": "text"} for row in texts.rows]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    print(f"Of pictures (and hub:PRESET, presets of keras-hub):\n{pictures}\n")
    print(
        f"Of texts, for --weights FILE --vocabulary FILE (and PRESET, presets of keras-hub, which hold both):\n{texts}"
    )


def _table(runs: list[dict[str, Any]]) -> str:
    """The runs as lines of equal columns; the columns are the keys of the first."""
    if not runs:
        return ""
    runs = [{**run, "written": datetime.fromtimestamp(run["written"]).isoformat(" ", "minutes")} for run in runs]
    rows = [list(runs[0]), *([_cell(value) for value in run.values()] for run in runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
