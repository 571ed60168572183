"""Text classifiers to compare a pretrained encoder with: word vectors under an LSTM, and a small transformer from scratch."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras

from ..core.freezing import freeze
from ..core.numbers import count, number
from .head import check_head, dense_head
from .word_inputs import WordInputs
from .word_vectors import WordVectors


def build_lstm_classifier(
    vectors: WordVectors,
    num_classes: int,
    *,
    units: int = 64,
    trainable: bool = False,
    max_length: int = 128,
    hidden: int | Sequence[int] = (),
    dropout: float = 0.3,
    name: str = "lstm_classifier",
) -> keras.Model:
    """Build an uncompiled classifier of word ids (batch, length) int32: word vectors, a bidirectional LSTM, a head.

    Its parts are `token_ids`, `preprocessing` (`WordInputs`, which splits texts into words), `backbone` (`embedding` and
    `lstm`), `pooling` (the last state of both directions, Hochreiter & Schmidhuber 1997 and Graves & Schmidhuber 2005) and
    `head`, so that it takes what `kt.load_texts` gives, as every text classifier does. Logits (batch, num_classes).

    - `vectors`: of `load_word_vectors`. `trainable`: whether they learn on; by default they stay as they are.
    - `units`: of each direction. `max_length`: words that are kept of a text.
    - `dropout`: the share of a vector's numbers dropped before the LSTM, and of the features before the logits, in [0, 1).
    - `hidden`: units of ReLU layers before the logits.

    Example: `model = kt.backbones.build_lstm_classifier(vectors, 2)`
    """
    if not isinstance(vectors, WordVectors):
        raise TypeError(f"`vectors` must be what load_word_vectors gives. Received: {type(vectors).__name__}")
    layers = check_head(num_classes, hidden, dropout, None)
    words = keras.Input((None,), dtype="int32", name="words")
    x = vectors.embedding(trainable=True)(words)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    lstm = keras.layers.LSTM(count("units", units))
    features = keras.layers.Bidirectional(lstm, name="lstm")(x)
    backbone = keras.Model(words, features, name="backbone")
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    given = WordInputs(vectors.words, max_length, vectors.standardize, name="preprocessing")(token_ids)
    pooled = keras.layers.Identity(name="pooling")(backbone(given))
    model = keras.Model(token_ids, dense_head(pooled, num_classes, layers, dropout), name=name)
    return model if trainable else freeze(model, "backbone/embedding")


def build_transformer_classifier(
    texts: Iterable[str],
    num_classes: int,
    *,
    layers: int = 2,
    width: int = 128,
    heads: int = 2,
    vocabulary_size: int = 8000,
    max_length: int = 128,
    dropout: float = 0.1,
    name: str = "transformer_from_scratch",
) -> keras.Model:
    """Build a BERT of random weights (Devlin et al. 2019, arXiv:1810.04805) with a WordPiece vocabulary learned from `texts`.

    The row that a pretrained encoder has to beat: same parts, same recipe, nothing known. `texts` are the training texts;
    at most `vocabulary_size` pieces are learned from them. `layers` blocks, `width` wide (a multiple of `heads`), with
    4 * `width` inside. Everything trains. Raises `ValueError` for sizes that do not go together.

    Example: `model = kt.backbones.build_transformer_classifier(data.splits["train"].texts, 2)`
    """
    import keras_hub  # takes its time, and an LSTM needs it not

    from .text_classifier import build_text_classifier

    if count("width", width) % count("heads", heads):
        raise ValueError(f"`width` must be a multiple of `heads`. Received: width={width}, heads={heads}")
    sizes = {
        "num_layers": count("layers", layers),
        "num_heads": heads,
        "hidden_dim": width,
        "intermediate_dim": 4 * width,
    }
    sizes |= {"max_sequence_length": count("max_length", max_length, least=3)}
    dropout = number("dropout", dropout, least=0, below=1)
    words = learn_vocabulary(texts, vocabulary_size)
    backbone = keras_hub.models.BertBackbone(vocabulary_size=len(words), **sizes, dropout=dropout, name="backbone")
    return build_text_classifier(
        backbone, num_classes, weights=None, vocabulary=words, max_length=max_length, dropout=dropout, name=name
    )


def learn_vocabulary(texts: Iterable[str], vocabulary_size: int = 8000) -> list[str]:
    """WordPiece words of lower-cased `texts`, BERT's special tokens first; at most about `vocabulary_size` of them.

    The greedy learner of TensorFlow Text (Schuster & Nakajima 2012): it needs the package `tensorflow-text`. A piece stands
    in the texts ten times at least, so few texts give few.
    """
    import keras_hub

    if isinstance(texts, str):
        raise TypeError(f"`texts` must be several texts, not one. Received: {texts[:40]!r}")
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"`texts` must be strings; of pairs give both texts, one after the other. Received: {text!r:.100}"
            )
    lines = [" ".join(text.split()) for text in texts]
    if not any(lines):
        raise ValueError("There must be at least one text to learn words from. Received: none")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.txt"
        path.write_text("\n".join(lines), encoding="utf-8")
        return keras_hub.tokenizers.compute_word_piece_vocabulary(
            [str(path)],
            count("vocabulary_size", vocabulary_size, least=30),
            lowercase=True,
            strip_accents=True,
            reserved_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        )
