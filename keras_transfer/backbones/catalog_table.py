"""The catalogue as a table: prints, and shows in a notebook."""

import html
from dataclasses import dataclass
from typing import Any

from .catalog import known, names
from .text_catalog import ENCODERS

_COLUMNS = ("name", "parameters", "size", "top-1", "licence", "paper")
_OF_TEXTS = ("name", "layers", "width", "tokens", "paper")
_NUMBERS = ("parameters", "size", "top-1", "layers", "width", "tokens")


@dataclass(frozen=True)
class CatalogTable:
    """Backbones, a row each: `name`, `family`, `parameters`, `size`, `minimum`, `top-1`, `licence`, `paper`; of texts
    `layers`, `width` and `tokens` in place of the sizes. `columns` are those that it shows.
    """

    rows: list[dict[str, Any]]
    columns: tuple[str, ...] = _COLUMNS

    def __str__(self) -> str:
        cells = [list(self.columns), *([_text(row[column], column) for column in self.columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
                for cell, width, column in zip(line, widths, self.columns, strict=True)
            ).rstrip()
            for line in cells
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{column}</th>" for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row[column], column))}</td>" for column in self.columns) + "</tr>"
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


def text_table() -> CatalogTable:
    """The shapes of text encoders that can be built by name, for weights and a vocabulary from files; needs no Keras.

    Presets of keras-hub, such as "bert_small_en_uncased", come with both and are not among them.

    >>> print(text_table().rows[0]["name"])
    bert_tiny
    """
    rows = []
    for name, entry in ENCODERS.items():
        sizes = {"layers": "num_layers", "width": "hidden_dim", "tokens": "vocabulary_size"}
        told = {column: entry.arguments[argument] for column, argument in sizes.items()}
        rows.append(
            {"name": name, "family": entry.backbone.removesuffix("Backbone").lower(), **told, "paper": entry.paper}
        )
    return CatalogTable(rows, _OF_TEXTS)


def _text(value: Any, column: str) -> str:
    if column == "parameters":
        return f"{value / 1e6:.1f}M"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
