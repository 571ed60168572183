"""From token ids to class logits: a text encoder, its pooling, and a head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from ..core.freezing import freeze
from ..core.idle import idle_layers
from .head import check_head, dense_head, own_head
from .text_encoder import encode_text

DROPOUT = 0.1


def build_text_classifier(
    backbone: str | keras.Model,
    num_classes: int,
    *,
    weights: str | Path | None = "pretrained",
    tokenizer: Any = None,
    vocabulary: str | Path | Sequence[str] | None = None,
    max_length: int | None = None,
    pooling: str | None = None,
    hidden: int | Sequence[int] = (),
    dropout: float | None = None,
    head: keras.layers.Layer | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled classifier of texts: token ids (batch, length), int32, to logits (batch, num_classes).

    Its parts are `token_ids` (the input), `preprocessing` (`TextInputs`: mask, segments, and the tokenizer, which is
    saved with the model), `backbone`, `pooling` and `head`, which holds `hidden_1`, ..., `dropout` and `logits`. Every
    strategy takes it with what `kt.load_texts` gives; compile it with a loss `from_logits=True` for a `fit` of your own.

    - `backbone`: a preset of keras-hub, by name or from a folder, which brings weights and tokenizer; a name of
      `kt.backbones.text_names()` for `weights` from a file; or an encoder of keras-hub. Its layers are shared, not copied,
      and it is called `backbone` from then on.
    - `weights`: `"pretrained"` are a preset's own, and an encoder of yours as it comes; a path loads that `.h5` file
      exactly or raises; None starts at random (an encoder of yours is left as it is).
    - `tokenizer`: a tokenizer of keras-hub, or `vocabulary`: the words, one a line, of an encoder with WordPiece tokens.
      Without either the model takes token ids only.
    - `max_length`: tokens that are kept of a text, special ones counted; by default 128, or what the encoder has room for.
    - `pooling`: `"pooled"`, BERT's own (by default, where there is one), `"cls"`, the first token (by default elsewhere),
      `"mean"` or `"max"` over the tokens that are no padding. Sentence encoders such as MiniLM are for `"mean"`.
    - `hidden`, `dropout` (by default 0.1), `head`: as in `build_classifier`.

    A pretrained encoder starts frozen, one without pretrained weights starts trainable. Raises `ValueError` or
    `TypeError` naming what was expected.

    >>> model = build_text_classifier("bert_tiny", 2, weights=None)
    >>> [layer.name for layer in model.layers]
    ['token_ids', 'preprocessing', 'backbone', 'pooling', 'head']
    """
    units = check_head(num_classes, hidden, dropout, head)
    found = encode_text(backbone, weights, tokenizer, vocabulary, max_length, pooling)
    if head is None:
        logits = dense_head(found.features, num_classes, units, DROPOUT if dropout is None else dropout)
    else:
        logits = own_head(found.features, num_classes, head)
    return _ready(keras.Model(found.token_ids, logits, name=name or f"{found.name}_classifier"), found.pretrained)


def build_text_encoder(
    backbone: str | keras.Model,
    *,
    weights: str | Path | None = "pretrained",
    tokenizer: Any = None,
    vocabulary: str | Path | Sequence[str] | None = None,
    max_length: int | None = None,
    pooling: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build an uncompiled model from token ids (batch, length) to features (batch, features), without a head.

    The arguments are those of `build_text_classifier`.

    >>> build_text_encoder("bert_tiny", weights=None, pooling="mean").output_shape
    (None, 128)
    """
    found = encode_text(backbone, weights, tokenizer, vocabulary, max_length, pooling)
    return _ready(keras.Model(found.token_ids, found.features, name=name or f"{found.name}_encoder"), found.pretrained)


def _ready(model: keras.Model, pretrained: bool) -> keras.Model:
    """Frozen where there is something to lose; what has no part in the output is frozen in any case."""
    idle = idle_layers(model)
    if pretrained:
        return freeze(model, "backbone")
    return freeze(model, lambda _, layer: id(layer) in idle) if idle else model
