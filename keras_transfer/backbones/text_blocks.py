"""The blocks of a text encoder, for `top:N`: the embeddings, then each transformer layer."""

from collections import defaultdict

import keras

from ..core.selection import register_finder
from ..core.surgery import sublayers
from .blocks import inner_model


def text_blocks(model: keras.Model) -> list[list[keras.layers.Layer]] | None:
    """The blocks of a model that begins with token ids, or of the encoder inside a model; None for any other.

    A transformer layer is a block; what lies before the first is the block of the embeddings, and what lies behind the
    last (BERT's pooler, a last normalisation) belongs to the last.

    Example: `len(text_blocks(model))` is 13 for BERT-base.
    """
    inner = inner_model(model)
    tokens = [one for one in getattr(inner, "inputs", None) or () if one.dtype.startswith("int")]
    if not tokens or len(tokens) < len(inner.inputs):
        return None
    layers = [layer for layer in sublayers(inner) if layer.weights]
    weight: dict[type, int] = defaultdict(int)
    for layer in layers:
        if not isinstance(layer, keras.Model) and len(sublayers(layer)) > 2:
            weight[type(layer)] += layer.count_params()
    if not weight:
        return None
    kind = max(weight, key=weight.__getitem__)
    blocks: list[list[keras.layers.Layer]] = [[]]
    for layer in layers:
        if type(layer) is kind:
            blocks.append([])
        blocks[-1].append(layer)
    return [block for block in blocks if block]


register_finder("blocks", text_blocks)
