"""What comes out of every exported classifier, as `io.json` tells it: class probabilities in the order of the labels."""

from collections.abc import Sequence
from typing import Any

LAYOUT: dict[str, Any] = {"name": str, "shape": list, "dtype": str, "meaning": str, "labels": list}


def describe_output(labels: Sequence[str]) -> dict[str, Any]:
    """The `output` of `io.json`."""
    return {
        "name": "probabilities",
        "shape": [1, len(labels)],
        "dtype": "float32",
        "meaning": "class probabilities",
        "labels": list(labels),
    }


def fits(out: dict[str, Any]) -> dict[str, bool]:
    """What of the output fits together."""
    return {
        "output/dtype": out["dtype"] == "float32",
        "output/labels": all(isinstance(one, str) for one in out["labels"]) and out["shape"] == [1, len(out["labels"])],
    }
