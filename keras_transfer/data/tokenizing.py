"""Texts to token ids by the tokenizer of a model, in `tf.data`; without TensorFlow (Text) in Python, which gives the same."""

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

BATCH = 1024  # texts that are tokenised at once


def token_ids(layer: Any, texts: Sequence[Any]) -> tuple[list[np.ndarray], np.ndarray]:
    """The token ids of texts or pairs, int32 (length,) each, and how many tokens each has before it is cut, (n,).

    layer: the `preprocessing` of a text model (`TextInputs`), which knows its tokenizer and where it cuts.
    """
    in_graph = "tensorflow" in sys.modules and importlib.util.find_spec("tensorflow_text") is not None
    # A pipeline costs a second before it begins, and words need no tokenizer.
    if not in_graph or len(texts) < BATCH // 8 or not hasattr(layer, "packer"):
        return layer.encode(texts)  # type: ignore[no-any-return]
    import tensorflow as tf

    packer, tokenizer = layer.packer(), layer.tokenizer
    columns = [list(texts)] if isinstance(texts[0], str) else [list(column) for column in zip(*texts, strict=True)]

    def tokenized(*batch: Any) -> tuple[Any, Any]:
        pieces = tuple(tokenizer(column) for column in batch)
        return packer(pieces)[0], tf.add_n([tf.cast(column.row_lengths(), tf.int64) for column in pieces])

    batches = tf.data.Dataset.from_tensor_slices(tuple(columns)).batch(BATCH)
    batches = batches.map(tokenized, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    rows, counts = zip(*batches.as_numpy_iterator(), strict=True)
    whole = np.concatenate(counts).astype(np.int64) + layer.special_tokens(len(columns))
    kept = np.minimum(whole, layer.max_length)
    every = (row for batch in rows for row in batch)
    return [np.asarray(row[:length], "int32") for row, length in zip(every, kept, strict=True)], whole
