"""Pretrained word vectors, GloVe's and fastText's text format or an array, read for the words of a task."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.numbers import count
from .word_files import entries
from .word_inputs import PAD, STANDARDS, UNKNOWN, check_standardize, count_words

_CASES: dict[str, Callable[[str], str]] = {
    "as it is": str, "lower case": str.lower, "Capitalised": str.capitalize, "UPPER CASE": str.upper,
}  # fmt: skip


@dataclass(frozen=True)
class Coverage:
    """How much of a vocabulary has a vector: words (types), and what they make of the texts (tokens), 0 without texts.

    `cases` says under which spelling they were found; `missing` are the words without a vector, the most frequent first.
    """

    types: int
    found: int
    tokens: int
    found_tokens: int
    cases: dict[str, int]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.found:,} of {self.types:,} words have a vector ({self.found / self.types:.1%})"]
        if self.tokens:
            share = self.found_tokens / self.tokens
            lines.append(f"{self.found_tokens:,} of {self.tokens:,} words of the texts ({share:.1%})")
        lines.append("found " + ", ".join(f"{case}: {number:,}" for case, number in self.cases.items()))
        if self.missing:
            more = f" and {len(self.missing) - 10:,} more" if len(self.missing) > 10 else ""
            lines.append("missing: " + ", ".join(self.missing[:10]) + more)
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A vector for each word of a vocabulary: row i + 2 of `matrix` for `words[i]`, row 0 padding (zeros), row 1 [UNK].

    Words without a pretrained vector have a random one, normal with the mean and deviation of those that were found (Kim
    2014, arXiv:1408.5882); [UNK] has the mean of the found.
    """

    words: tuple[str, ...]
    matrix: np.ndarray
    coverage: Coverage
    standardize: str

    @property
    def dim(self) -> int:
        """How wide a vector is."""
        return int(self.matrix.shape[1])

    def embedding(self, trainable: bool = False, name: str = "embedding") -> keras.layers.Embedding:
        """A layer from word ids (batch, length) to vectors (batch, length, dim), which masks padding out."""
        layer = keras.layers.Embedding(*self.matrix.shape, mask_zero=True, name=name)
        layer.build((None, None))
        layer.set_weights([self.matrix])
        layer.trainable = trainable
        return layer


def load_word_vectors(
    source: str | Path | Mapping[str, Any] | tuple[Sequence[str], Any],
    texts: Iterable[str] | None = None,
    *,
    vocabulary: Sequence[str] | None = None,
    max_words: int = 20000,
    standardize: str = STANDARDS[0],
    seed: int = 0,
) -> WordVectors:
    """Read the vectors of the words that `texts` hold, and say how many have one.

    - `source`: a file with a word and its numbers a line (GloVe), after a first line with their counts or without
      (fastText, `.vec`), also as `.gz`; or `(words, array)` with array (words, dim), or a dictionary.
    - `texts`: the training texts; the vocabulary is their `max_words` most frequent words, split as
      `keras.layers.TextVectorization` splits them with this `standardize`. Or `vocabulary`: the words themselves.
    - A word is looked up as it is, then in lower case, Capitalised and in UPPER CASE; `coverage` says how often each found
      one. Of a word that stands twice in a file the first vector counts.

    Raises `ValueError` for a file that is none, is cut short, or has a line with other numbers (with the line), and where
    no word has a vector.

    Example:
        vectors = kt.backbones.load_word_vectors("glove.6B.100d.txt", data.splits["train"].texts)
        print(vectors.coverage)
        model = kt.backbones.build_lstm_classifier(vectors, 2)
    """
    check_standardize(standardize)
    if (texts is None) == (vocabulary is None):
        raise ValueError(
            "Give `texts` or `vocabulary`, one of the two. Received: " + ("none" if texts is None else "both")
        )
    counts = count_words(texts, standardize) if texts is not None else dict.fromkeys(vocabulary or (), 0)
    ranked = sorted(counts, key=lambda word: (-counts[word], word)) if texts is not None else list(counts)
    words = tuple(word for word in ranked if word not in (PAD, UNKNOWN))[: count("max_words", max_words)]
    if not words:
        raise ValueError("There must be at least one word. Received: none")
    spellings = {change(word) for word in words for change in _CASES.values()}
    found = _found(entries(source), spellings)
    rows: dict[int, np.ndarray] = {}
    cases = dict.fromkeys(_CASES, 0)
    for place, word in enumerate(words):
        case = next((name for name, change in _CASES.items() if change(word) in found), None)
        if case is not None:
            rows[place] = found[_CASES[case](word)]
            cases[case] += 1
    if not rows:
        raise ValueError(
            f"None of the {len(words):,} words has a vector; are the vectors for another language, or the texts not split "
            f"into words? Received: words like {', '.join(words[:5])}"
        )
    here = set(rows)
    coverage = Coverage(
        types=len(words),
        found=len(rows),
        tokens=sum(counts.values()),
        found_tokens=sum(counts[words[place]] for place in here),
        cases=cases,
        missing=tuple(word for place, word in enumerate(words) if place not in here),
    )
    return WordVectors(words, _matrix(len(words), rows, seed), coverage, standardize)


def _matrix(words: int, rows: dict[int, np.ndarray], seed: int) -> np.ndarray:
    known = np.stack(list(rows.values()))
    matrix = np.random.default_rng(seed).normal(known.mean(), known.std(), (words + 2, known.shape[1]))
    matrix[0], matrix[1] = 0, known.mean(0)
    matrix[np.array(list(rows)) + 2] = known
    return matrix.astype("float32")


def _found(pairs: Iterable[tuple[str, Any]], wanted: set[str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    width = None
    for word, numbers in pairs:
        if word not in wanted or word in found:
            continue
        vector = np.asarray(numbers, "float32")
        if vector.ndim != 1 or vector.shape != (width or vector.shape) or not np.isfinite(vector).all():
            raise ValueError(
                f"Every word must have {width or 'a row of'} finite numbers. Received: {word!r} with {vector.shape}, "
                f"{'finite' if np.isfinite(vector).all() else 'not all finite'}"
            )
        width, found[word] = vector.shape, vector
    return found
