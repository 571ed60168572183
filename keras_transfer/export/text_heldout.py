"""The held-out token ids of whatever a person has: texts, or ids that are there already, all of the model's length."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..backbones.text_inputs import TextInputs, text_inputs
from ..core.source import ArraySource
from ..core.surgery import walk
from ..core.texts import for_model
from .heldout import HeldOut

RANDOM = 32


def inputs_of(model: keras.Model) -> TextInputs:
    """The layer of a text model that takes its token ids, which knows their length."""
    layer = text_inputs(model)
    if layer is None:
        raise ValueError(
            "A model of token ids must begin with `TextInputs`, which says how long they are; build it with "
            f"kt.build_text_classifier. Received: model {model.name!r}"
        )
    return layer


def held_out_texts(model: keras.Model, data: Any) -> HeldOut:
    """Token ids (n, max_length) and labels; seeded random ids where there are no texts.

    data: a `TextData` (its test split, else validation), a split of it, token ids (n, length), or `(ids, labels)`.
    """
    layer = inputs_of(model)
    length = layer.max_length
    if data is None:
        return _random(model, layer)
    data = for_model(data, model)
    if hasattr(data, "held_out"):
        split, texts = data.held_out
        return HeldOut(split, texts.of_one_length(length), names=texts.names, class_names=data.class_names)
    if hasattr(data, "of_one_length"):
        return HeldOut("given", data.of_one_length(length), names=data.names)
    labelled = isinstance(data, (tuple, list)) and len(data) == 2
    ids, labels = data if labelled else (data, np.zeros(len(data), "int32"))
    return HeldOut("given", ArraySource(of_length(ids, length, layer.pad_id), labels), labelled=labelled)


def of_length(ids: Any, length: int, pad_id: int) -> np.ndarray:
    """Token ids (n, length) int32: shorter ones are padded, longer ones refused."""
    rows: Sequence[np.ndarray] = [np.asarray(row) for row in ids]
    if not rows or any(row.ndim != 1 or row.dtype.kind not in "iu" for row in rows):
        kinds = sorted({f"{row.dtype} {row.shape}" for row in rows})[:3]
        raise ValueError(
            f"Token ids are whole numbers (n, length), length at most {length}; texts come as kt.load_texts gives them. "
            f"Received: {kinds or 'nothing'}"
        )
    longest = max(map(len, rows))
    if longest > length:
        raise ValueError(f"The model takes at most {length} tokens a text; cut them. Received: {longest}")
    batch = np.full((len(rows), length), pad_id, "int32")
    for place, row in enumerate(rows):
        batch[place, : len(row)] = row
    return batch


def _random(model: keras.Model, layer: TextInputs) -> HeldOut:
    sizes = (getattr(one, "vocabulary_size", None) for one in walk(model))
    words = next((int(size) for size in sizes if isinstance(size, int)), 2)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, words, count) for count in rng.integers(2, layer.max_length + 1, RANDOM)]
    ids = ArraySource(of_length(rows, layer.max_length, layer.pad_id), np.zeros(RANDOM, "int32"))
    return HeldOut("random", ids, labelled=False)
