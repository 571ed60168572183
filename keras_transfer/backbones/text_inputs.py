"""From token ids to what a text encoder of keras-hub takes, in one layer that carries the tokenizer with the model."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from ..core.numbers import count
from ..core.registry import register
from ..core.surgery import walk

BATCH = 1024  # texts that are tokenised at once


@register("text_inputs", kind="text_layer")
class TextInputs(keras.layers.Layer):
    """Token ids (B, L) to the inputs of an encoder: the ids, the padding mask and, for pairs, the segments, int32.

    With the pad token p and the token e that ends a text: `mask = (id != p)`, and `segment = 1` behind the first e, else
    0 (Devlin et al. 2019, arXiv:1810.04805: "[CLS] first [SEP] second [SEP]"). Both follow from the ids, so that one
    array goes into the model and into a `.tflite`. They are those of keras-hub's preprocessors.

    names: the inputs that the encoder takes, of "token_ids", "padding_mask" and "segment_ids". max_length: tokens that
    are kept of a text, special ones counted. tokenizer: one of keras-hub, or None for a model that is given ids only; it
    is saved with the model, its vocabulary too.

    Example: `model.get_layer("preprocessing").encode(["a fine film"])`
    """

    def __init__(
        self,
        names: Sequence[str],
        pad_id: int = 0,
        end_id: int | None = None,
        max_length: int = 128,
        tokenizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.names, self.pad_id, self.end_id = list(names), int(pad_id), end_id
        self.max_length = count("max_length", max_length, least=3)
        if "segment_ids" in self.names and end_id is None:
            raise ValueError("Segments are told by the token that ends a text; give `end_id`. Received: None")
        # Not a sublayer: it has no part in the graph, and Keras would look for what it does in training.
        self._held = SimpleNamespace(tokenizer=tokenizer, packer=None)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of keras-hub, whose vocabulary Keras saves with the model; None where it takes ids only."""
        return self._held.tokenizer

    def adopt(self, other: "TextInputs") -> None:
        """Take the tokenizer of another layer: a copy made of a config has one without words, which are in files only."""
        self._held.tokenizer, self._held.packer = other.tokenizer, None

    def packer(self) -> Any:
        """The packer of keras-hub that puts the special tokens in, and cuts at `max_length`."""
        if self._held.packer is None:
            if self.tokenizer is None:
                raise ValueError(
                    "The model has no tokenizer; build it with `tokenizer` or `vocabulary`, or pass token ids. "
                    f"Received: layer {self.name!r}"
                )
            from .text_hub import preprocessor_for  # keras-hub takes its time, and a model that trains needs it no more

            self._held.packer = preprocessor_for(self.tokenizer, self.max_length).packer
        return self._held.packer

    def call(self, token_ids: Any) -> dict[str, Any]:
        ids = ops.cast(token_ids, "int32")
        mask = ops.cast(ops.not_equal(ids, self.pad_id), "int32")
        found = {"token_ids": ids, "padding_mask": mask}
        if "segment_ids" in self.names:
            ends = ops.cast(ops.equal(ids, self.end_id), "int32")
            behind = ops.cumsum(ends, axis=1) - ends
            found["segment_ids"] = ops.cast(ops.greater(behind, 0), "int32") * mask
        return found

    def encode(self, texts: Sequence[Any]) -> tuple[list[np.ndarray], np.ndarray]:
        """The token ids of texts, or of pairs of texts, int32 (length,) each, and how long each was before it was cut."""
        packer, ids, lengths = self.packer(), [], []
        _check_texts(texts)
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            columns = list(zip(*some, strict=True)) if not isinstance(some[0], str) else [some]
            pieces = tuple(self.tokenizer(list(column)) for column in columns)
            special = self.special_tokens(len(pieces))
            counts = [[len(text) for text in _as_lists(column)] for column in pieces]
            whole = [special + sum(row) for row in zip(*counts, strict=True)]
            rows = np.asarray(keras.ops.convert_to_numpy(packer(pieces)[0]), "int32")
            ids += [row[: min(length, self.max_length)] for row, length in zip(rows, whole, strict=True)]
            lengths += whole
        return ids, np.array(lengths, int)

    def special_tokens(self, texts: int = 1) -> int:
        """How many special tokens one text has, or a pair of them (RoBERTa doubles the one between)."""
        between = getattr(self.packer(), "sep_value", None)
        doubled = len(between) - 1 if isinstance(between, (list, tuple)) else 0
        return 1 + texts + doubled * (texts - 1)

    def get_config(self) -> dict[str, Any]:
        tokenizer = self.tokenizer
        return {
            **super().get_config(),
            "names": self.names,
            "pad_id": self.pad_id,
            "end_id": self.end_id,
            "max_length": self.max_length,
            "tokenizer": None if tokenizer is None else keras.saving.serialize_keras_object(tokenizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextInputs":
        config = dict(config)
        if config.get("tokenizer") is not None:
            from .text_hub import read_tokenizer

            config["tokenizer"] = read_tokenizer(config["tokenizer"])
        return cls(**config)


def text_inputs(model: keras.Model) -> TextInputs | None:
    """The layer that takes the token ids of a text model; None for a model of something else."""
    return next((layer for layer in walk(model) if isinstance(layer, TextInputs)), None)


def _check_texts(texts: Sequence[Any]) -> None:
    """Strings, or pairs of strings; the tokenizer would name neither the text nor what is wrong with it."""
    pairs = bool(len(texts)) and isinstance(texts[0], (tuple, list))
    for text in texts:
        parts = text if pairs and isinstance(text, (tuple, list)) and len(text) == 2 else [None] if pairs else [text]
        if not all(isinstance(part, str) for part in parts):
            kind = "a pair of strings" if pairs else "a string"
            raise ValueError(
                f"Texts must be strings or pairs of strings, all like the first, {kind}. Received: {text!r:.200}"
            )


def _as_lists(pieces: Any) -> list[list[int]]:
    return pieces.to_list() if hasattr(pieces, "to_list") else [list(row) for row in pieces]
