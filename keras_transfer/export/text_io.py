"""`io.json` of a text model: token ids in, and which vocabulary they are of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .io_output import describe_output

NAME = "token_ids"
LAYOUT: dict[str, Any] = {
    "input": {
        "name": str,
        "shape": list,
        "dtype": str,
        "max_length": int,
        "pad_id": int,
        "vocabulary": dict,
    },
    "reference": {"token_ids": list, "expected": list},
}


def reads_ids(model: Any) -> bool:
    """Whether a model takes token ids (batch, length)."""
    inputs: Sequence[Any] = getattr(model, "inputs", None) or []
    return len(inputs) == 1 and inputs[0].dtype.startswith("int") and len(inputs[0].shape) == 2


def describe_text_io(
    ids: np.ndarray, expected: np.ndarray, labels: Sequence[str], pad_id: int, vocabulary: dict[str, str]
) -> dict[str, Any]:
    """`io.json` without its files: `ids` (length,) are the reference, `expected` its probabilities.

    vocabulary: the files of the tokenizer that lie beside, with the SHA-256 of each; empty for a model without one.
    """
    return {
        "format": 1,
        "files": {},
        "input": {
            "name": NAME,
            "shape": [1, len(ids)],
            "dtype": "int32",
            "max_length": len(ids),
            "pad_id": pad_id,
            "vocabulary": vocabulary,
        },
        "output": describe_output(labels),
        "reference": {"token_ids": [int(one) for one in ids], "expected": [float(one) for one in expected]},
    }


def fits(found: dict[str, Any]) -> dict[str, bool]:
    """What of the input and the reference fits together."""
    given, ids = found["input"], found["reference"]["token_ids"]
    length = given["max_length"]
    files = given["vocabulary"].items()
    return {
        "input/shape": given["shape"] == [1, length] and length > 0,
        "input/dtype": given["dtype"] == "int32",
        "input/vocabulary": all(
            isinstance(one, str) and "/" not in one and isinstance(hash, str) for one, hash in files
        ),
        "reference/token_ids": len(ids) == length and all(type(one) is int and 0 <= one < 2**31 for one in ids),
    }


def reference(found: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The reference token ids (length,) int32 and their expected probabilities."""
    given = found["reference"]
    return np.asarray(given["token_ids"], "int32"), np.asarray(given["expected"], "float32")
