"""Words as `keras.layers.TextVectorization` splits them, on every backend, in a layer that carries them with the model."""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ..core.messages import nearest
from ..core.numbers import count
from ..core.registry import register

PAD, UNKNOWN = "", "[UNK]"  # the first two words of every vocabulary, as in TextVectorization
STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation", "none")
_PUNCTUATION = re.compile(r"""[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']""")


def check_standardize(standardize: str) -> str:
    """One of `STANDARDS`."""
    if standardize not in STANDARDS:
        raise ValueError(f"Unknown `standardize`. {nearest(str(standardize), STANDARDS)} Received: {standardize!r}")
    return standardize


def split_words(text: str, standardize: str = STANDARDS[0]) -> list[str]:
    """The words of a text.

    >>> split_words("It's a fine film.")
    ['its', 'a', 'fine', 'film']
    """
    if not isinstance(text, str):
        raise TypeError(f"A text must be a string; word vectors take no pairs of texts. Received: {text!r:.100}")
    if "lower" in standardize:
        text = text.lower()
    if "strip" in standardize:
        text = _PUNCTUATION.sub("", text)
    return text.split()


def count_words(texts: Iterable[str], standardize: str = STANDARDS[0]) -> collections.Counter[str]:
    """How often each word stands in the texts."""
    check_standardize(standardize)
    if isinstance(texts, str):
        raise TypeError(f"`texts` must be several texts, not one. Received: {texts[:40]!r}")
    return collections.Counter(word for text in texts for word in split_words(text, standardize))


@register("word_inputs", kind="text_layer")
class WordInputs(keras.layers.Layer):
    """Word ids (B, L), 0 for padding and 1 for a word that is not known, passed on as int32; `encode` makes them of texts.

    Texts are split as `keras.layers.TextVectorization` does: `standardize` is its own, with "none" for None, and words
    are what stands between spaces. words: the vocabulary without padding and [UNK]; a word's id is its place plus 2.
    max_length: words that are kept of a text.

    Example: `model.get_layer("preprocessing").encode(["a fine film"])`
    """

    pad_id = 0

    def __init__(
        self, words: Sequence[str], max_length: int = 128, standardize: str = STANDARDS[0], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.words, self.standardize = tuple(words), check_standardize(standardize)
        self.max_length = count("max_length", max_length)
        self.ids = {word: place for place, word in enumerate(self.words, 2)}
        if len(self.ids) != len(self.words) or {PAD, UNKNOWN} & set(self.ids):
            raise ValueError(
                "`words` must be different words, without padding and [UNK], which are added. "
                f"Received: {len(self.words)} words, {len(self.ids)} different"
            )

    def encode(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """The word ids of texts, int32 (length,) each, and how many words each has before it is cut."""
        rows = [[self.ids.get(word, 1) for word in split_words(text, self.standardize)] for text in texts]
        ids = [np.array(row[: self.max_length] or [1], "int32") for row in rows]  # an empty text is one unknown word
        return ids, np.array([len(row) for row in rows], int)

    def batch(self, texts: Sequence[str]) -> np.ndarray:
        """The word ids of texts as one array (texts, longest), padded at the end."""
        ids, _ = self.encode(texts)
        found = np.zeros((len(ids), max(map(len, ids), default=1)), "int32")
        for row, one in zip(found, ids, strict=True):
            row[: len(one)] = one
        return found

    def vectorization(self) -> keras.layers.TextVectorization:
        """The layer of Keras that makes the same ids of strings, inside a graph of TensorFlow."""
        return keras.layers.TextVectorization(
            standardize=None if self.standardize == "none" else self.standardize,
            vocabulary=list(self.words),
            output_sequence_length=self.max_length,
        )

    def call(self, token_ids: Any) -> Any:
        return ops.cast(token_ids, "int32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "words": list(self.words),
            "max_length": self.max_length,
            "standardize": self.standardize,
        }
