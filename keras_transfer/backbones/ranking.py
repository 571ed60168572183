"""Which backbone first? Encoders ranked by how well their frozen features suit the labels, without training any."""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..core.features import labelled_features
from ..core.progress import progress
from .transferability import h_score, log_me

SCORES = ("log_me", "h_score", "h_score_shrunk")
_COLUMNS = {"name": "backbone", "log_me": "LogME", "h_score_shrunk": "H-score, shrunk", "h_score": "H-score"}
_COLUMNS |= {"features": "features", "seconds": "seconds"}


@dataclass(frozen=True)
class Ranking:
    """Encoders, the best by `by` first: `rows` with the scores of each; prints as a table, in Jupyter as HTML.

    A row: `name`, `log_me`, `h_score`, `h_score_shrunk`, how many `features` it gives, and the `seconds` that it took.
    """

    rows: list[dict[str, Any]]
    by: str
    samples: int

    @property
    def names(self) -> list[str]:
        """The names, the best first."""
        return [row["name"] for row in self.rows]

    @property
    def best(self) -> str:
        """The name with the highest score."""
        return self.names[0]

    def sorted_by(self, by: str) -> "Ranking":
        """The same by another score."""
        return Ranking(_sorted(self.rows, by), by, self.samples)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {"by": self.by, "samples": self.samples, "rows": [dict(row) for row in self.rows]}

    def _table(self) -> list[list[str]]:
        rows = [[_shown(row[key]) for key in _COLUMNS] for row in self.rows]
        return [[f"{title} *" if key == self.by else title for key, title in _COLUMNS.items()], *rows]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}" for at, (cell, width) in enumerate(zipped))
            for zipped in (list(zip(row, widths, strict=True)) for row in table)
        ]
        return "\n".join([*lines, f"{self.samples} samples; * decides the order, higher is better"])

    def _repr_html_(self) -> str:
        head, *body = [[html.escape(cell) for cell in row] for row in self._table()]
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
        titles = "".join(f"<th>{cell}</th>" for cell in head)
        return (
            f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{self.samples} samples; * decides the order, higher is better</p>"
        )


def rank(
    encoders: Mapping[str, keras.Model], data: Any, y: Any = None, *, by: str = "log_me", show: bool | None = None
) -> Ranking:
    """Rank encoders (or classifiers, by what comes into their heads) on labelled pictures, each run over them once.

    LogME (You et al. 2021) and H-score, plain and with shrinkage (Bao et al. 2019; Ibrahim et al. 2021); see
    `transferability` for the formulas. They say how easily a linear model separates the classes, so they are a first
    sieve and no forecast of what fine-tuning reaches.

    encoders: `{name: model}`. data: `ImageData`, of which the training pictures are looked at, and no other; a split,
    arrays with `y`, or a data set of batches; or, where the encoders take pictures of different sizes, a mapping from
    their names to those. by: "log_me", "h_score" or "h_score_shrunk". Raises `ValueError` where the names or the labels
    do not agree.

    Example:
        encoders = {name: kt.build_encoder(name) for name in ("mobilenet_v2", "resnet50")}
        print(kt.backbones.rank(encoders, data))
    """
    if not isinstance(encoders, Mapping) or not encoders:
        raise TypeError(f"`encoders` must be {{name: model}}, at least one. Received: {type(encoders).__name__}")
    if by not in SCORES:
        raise ValueError(f"`by` must be one of {', '.join(map(repr, SCORES))}. Received: {by!r}")
    of_each = isinstance(data, Mapping)
    if of_each and set(data) != set(encoders):
        raise ValueError(f"Data by name must have the encoders' names, {sorted(encoders)}. Received: {sorted(data)}")
    rows: list[dict[str, Any]] = []
    labels: np.ndarray | None = None
    for name, encoder in progress(list(encoders.items()), total=len(encoders), text="Ranking", show=show):
        begin = time.perf_counter()
        pictures = data[name] if of_each else data
        found = labelled_features(encoder, getattr(pictures, "splits", {"train": pictures})["train"], y, show=False)
        if found.y is None:
            raise ValueError("Ranking needs the labels: pass `y`. Received: data without labels")
        classes = np.asarray(found.y)
        if labels is not None and not np.array_equal(np.sort(_flat(labels)), np.sort(_flat(classes))):
            raise ValueError(f"All encoders must see the same labels. Received: others for {name!r}")
        labels = classes
        scores = {"log_me": log_me(found.x, classes), "h_score": h_score(found.x, classes)}
        scores["h_score_shrunk"] = h_score(found.x, classes, shrinkage=True)
        took = {"features": found.x.shape[1], "seconds": time.perf_counter() - begin}
        rows.append({"name": name, **scores, **took})
    return Ranking(_sorted(rows, by), by, 0 if labels is None else len(labels))


def _flat(labels: np.ndarray) -> np.ndarray:
    return labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] != 1 else labels.reshape(-1)


def _sorted(rows: Sequence[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row[by])


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
