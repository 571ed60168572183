"""The catalogue as a table: prints, and shows in a notebook."""

import html
from dataclasses import dataclass
from typing import Any

from .catalog import known, names

_COLUMNS = ("name", "parameters", "size", "top-1", "licence", "paper")


@dataclass(frozen=True)
class CatalogTable:
    """Backbones, a row each: `name`, `family`, `parameters`, `size`, `minimum`, `top-1`, `licence`, `paper`."""

    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        cells = [list(_COLUMNS), *([_text(row[column], column) for column in _COLUMNS] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
        numbers = ("parameters", "size", "top-1")
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column in numbers else cell.ljust(width)
                for cell, width, column in zip(line, widths, _COLUMNS, strict=True)
            ).rstrip()
            for line in cells
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row[column], column))}</td>" for column in _COLUMNS) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(family: str | None = None) -> CatalogTable:
    """The backbones of the catalogue, or of one family of it; needs no Keras.

    `top-1` is the published ImageNet validation accuracy at `size` pixels, `licence` that of the ImageNet weights,
    `parameters` are counted without the classifier.

    >>> print(table("vgg"))
    name   parameters  size  top-1  licence    paper
    vgg16       14.7M   224  0.713  CC-BY-4.0  Simonyan and Zisserman 2014, arXiv:1409.1556
    vgg19       20.0M   224  0.713  CC-BY-4.0  Simonyan and Zisserman 2014, arXiv:1409.1556
    """
    families = dict.fromkeys(known(name).family for name in names())
    if family is not None and family not in families:
        raise ValueError(f"`family` must be one of {', '.join(families)}, or None. Received: {family!r}")
    rows = []
    for one in map(known, names()):
        if family in (None, one.family):
            told = {"name": one.name, "family": one.family, "parameters": one.parameters, "size": one.image_size}
            told |= {"minimum": one.minimum_size, "top-1": one.top1, "licence": one.licence, "paper": one.paper}
            rows.append(told)
    return CatalogTable(rows)


def _text(value: Any, column: str) -> str:
    if column == "parameters":
        return f"{value / 1e6:.1f}M"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
