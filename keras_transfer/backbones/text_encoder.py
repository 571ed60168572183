"""The graph from token ids to the features of a text, and the encoder in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from ..core.numbers import count
from .text_catalog import ENCODERS
from .text_inputs import TextInputs
from .text_pooling import check_pooling, pool_text
from .weights import load_weights_exactly

MAX_LENGTH = 128


class Encoded(NamedTuple):
    """Both ends of the graph, what to call a model after, and whether the encoder is pretrained."""

    token_ids: keras.KerasTensor
    features: keras.KerasTensor
    name: str
    pretrained: bool


def encode_text(
    backbone: str | keras.Model,
    weights: str | Path | None,
    tokenizer: Any,
    vocabulary: str | Path | Sequence[str] | None,
    max_length: int | None,
    pooling: str | None,
) -> Encoded:
    """The graph of an encoder between token ids and pooled features."""
    check_pooling(pooling)
    if tokenizer is not None and vocabulary is not None:
        raise ValueError("Give `tokenizer` or `vocabulary`, not both. Received: both")
    if not (weights is None or isinstance(weights, (str, Path))):
        raise TypeError(f"`weights` must be 'pretrained', the path of an .h5 file, or None. Received: {weights!r}")
    if not isinstance(backbone, (str, keras.Model)):
        raise TypeError(f"`backbone` must be a preset, a name of text_names() or a keras.Model. Received: {backbone!r}")
    from . import text_hub  # keras-hub takes its time, and most never need it

    bundled = None
    if isinstance(backbone, keras.Model):
        name, encoder = backbone.name, text_hub.check_encoder(backbone)
    elif bundled := check_name(backbone, weights, own_words=not (tokenizer is None and vocabulary is None)):
        name, encoder = Path(bundled).name, text_hub.from_preset(bundled, weights == "pretrained")
    else:
        name, encoder = backbone, _by_name(backbone)
    if weights not in (None, "pretrained"):
        load_weights_exactly(encoder, weights, name)  # type: ignore[arg-type]
    encoder.name = "backbone"
    if vocabulary is not None:
        tokenizer = text_hub.tokenizer_from_vocabulary(encoder, vocabulary)
    elif tokenizer is None and bundled is not None:
        tokenizer = text_hub.tokenizer_from_preset(bundled)
    if tokenizer is not None:
        text_hub.check_tokenizer(tokenizer, encoder)
    return Encoded(*_graph(encoder, tokenizer, _length(encoder, max_length), pooling), name, weights is not None)


def check_name(backbone: str, weights: str | Path | None, *, own_words: bool) -> str | None:
    """The preset that `backbone` names, None for a shape of the catalogue; what can be neither is refused unread.

    own_words: whether a tokenizer comes from elsewhere.
    """
    if backbone not in ENCODERS:
        from .text_hub import check_preset

        return check_preset(backbone, weights=weights == "pretrained", tokenizer=not own_words)
    if weights == "pretrained":
        raise ValueError(
            f"{backbone!r} is a shape without weights; give `weights`, the path of a .weights.h5 file, a preset or its folder "
            "instead of the name, or None (`none` in a config) to start at random. Received: weights='pretrained'"
        )
    return None


def _by_name(name: str) -> keras.Model:
    import keras_hub

    entry = ENCODERS[name]
    return getattr(keras_hub.models, entry.backbone)(**entry.arguments, name="backbone")


def _length(encoder: keras.Model, max_length: int | None) -> int:
    room = getattr(encoder, "max_sequence_length", None)
    if max_length is None:
        return MAX_LENGTH if room is None else min(MAX_LENGTH, room)
    length = count("max_length", max_length, least=3)
    if room is not None and length > room:
        raise ValueError(f"`max_length` must be at most {room}, what the encoder has room for. Received: {max_length}")
    return length


def _graph(encoder: keras.Model, tokenizer: Any, length: int, pooling: str | None) -> tuple[Any, Any]:
    names = list(encoder.input)
    ends = {"pad_id": tokenizer.pad_token_id, "end_id": tokenizer.end_token_id} if tokenizer else _usual(encoder)
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    given = TextInputs(names, max_length=length, tokenizer=tokenizer, **ends, name="preprocessing")(token_ids)
    output = encoder({name: given[name] for name in names})
    return token_ids, pool_text(output, given["padding_mask"], pooling)


def _usual(encoder: keras.Model) -> dict[str, int]:
    """Pad and end as the family's published vocabularies have them; a tokenizer says it exactly."""
    if "Roberta" in type(encoder).__name__:
        return {"pad_id": 1, "end_id": 2}
    return {"pad_id": 0, "end_id": 102}
