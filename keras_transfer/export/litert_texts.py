"""Texts for an exported file: token ids as they are, strings by the tokenizer that lies beside the file."""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.files import sha256

if TYPE_CHECKING:
    from ..backbones.text_inputs import TextInputs
    from .litert import LiteRTModel

TOKENIZER = "tokenizer.json"


def as_token_ids(model: "LiteRTModel", texts: Any) -> np.ndarray:
    """Token ids int32 (n, max_length) of ids (length,), several of these, a text, a pair of texts as a tuple, or several."""
    one = isinstance(texts, str) or (isinstance(texts, tuple) and texts and isinstance(texts[0], str))
    several = (
        [texts] if one or (isinstance(texts, np.ndarray) and texts.ndim == 1 and texts.dtype.kind in "iu") else texts
    )
    rows = list(several)
    if rows and isinstance(rows[0], (str, tuple)):
        rows = tokenizing(model).encode(rows)[0]
    batch = np.full((len(rows), model.max_length), model.pad_id, "int32")
    for place, row in enumerate(map(np.asarray, rows)):
        if row.ndim != 1 or row.dtype.kind not in "iu" or len(row) > model.max_length:
            raise ValueError(
                f"Token ids for this model are whole numbers, at most {model.max_length} a text. "
                f"Received: {row.dtype} of shape {row.shape}"
            )
        batch[place, : len(row)] = row
    return batch


def tokenizing(model: "LiteRTModel") -> "TextInputs":
    """The layer with the tokenizer of an exported file, read from what lies beside it; it needs keras-hub."""
    folder, vocabulary = model.path.parent, model.io["input"]["vocabulary"]
    for name, digest in vocabulary.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise ValueError(
                f"{name} beside the file must be the one that was exported with it; copy all of the folder, or pass token "
                f"ids. Received: {'another' if (folder / name).is_file() else 'no'} {name} in {str(folder)!r}"
            )
    if TOKENIZER not in vocabulary:
        raise ValueError(f"The file was exported without a tokenizer; pass token ids. Received: {str(model.path)!r}")
    return _read(folder, vocabulary[TOKENIZER])


@lru_cache(maxsize=4)
def _read(folder: Path, digest: str) -> "TextInputs":
    import keras_hub  # noqa: F401  registers its tokenizers with Keras

    from ..backbones.text_inputs import TextInputs

    layer = TextInputs.from_config(json.loads((folder / TOKENIZER).read_text(encoding="utf-8")))
    layer.tokenizer.load_assets(str(folder))
    return layer
