"""Texts of one split, asked for by index: as they are, and as token ids once a model's tokenizer has seen them."""

import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from ..core.texts import padded
from .tokenizing import token_ids

Text = str | tuple[str, str]


class Tokens:
    """The token ids of all texts in one array: those of text i stand at `starts[i]` to `starts[i + 1]`.

    whole (n,): how many tokens each text has before it is cut at `max_length`.
    """

    def __init__(self, ids: list[np.ndarray], whole: np.ndarray, *, pad_id: int, max_length: int) -> None:
        self.flat = np.concatenate(ids) if ids else np.zeros(0, "int32")
        self.starts = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
        self.whole, self.pad_id, self.max_length = np.asarray(whole, np.int64), pad_id, max_length

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many tokens of each text are kept, (n,)."""
        return np.diff(self.starts)

    def gather(self, indices: np.ndarray, length: int) -> np.ndarray:
        """Token ids int32 (b, length), padded at the end."""
        batch = np.full((len(indices), length), self.pad_id, "int32")
        for place, index in enumerate(indices):
            start, end = self.starts[index], self.starts[index + 1]
            batch[place, : end - start] = self.flat[start:end]
        return batch


class Texts:
    """One split: names, labels, and the texts by index. With token ids it is a `Source`, which every fit and evaluation takes.

    A batch is as long as its longest text, rounded up to a multiple of 8, at most `max_length`.

    Example: `x, y = data.tokenized(model).splits["validation"].gather([0, 1, 2])`
    """

    ragged = True  # batches differ in length

    def __init__(
        self, texts: list[Text], names: list[str], targets: Any, *, num_classes: int, one_hot: bool,
        tokens: Tokens | None = None, length: int | None = None,
    ) -> None:  # fmt: skip
        self.texts, self.names, self.y = texts, names, np.asarray(targets, np.int64)
        self.num_classes, self.one_hot, self.tokens, self.length = num_classes, one_hot, tokens, length

    def __len__(self) -> int:
        return len(self.texts)

    def text(self, index: int) -> Text:
        """One text, or pair of texts."""
        return self.texts[index]

    def targets(self) -> np.ndarray:
        """The class index of every text, (n,), whatever form the labels have."""
        return self.y

    @property
    def labels(self) -> np.ndarray:
        """The labels of all texts in the form that `gather` gives them."""
        return self._as_asked(self.y)

    @property
    def lengths(self) -> np.ndarray | None:
        """How many tokens of each text are kept, (n,); None before there are tokens."""
        return None if self.tokens is None else self.tokens.lengths

    def gather(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Token ids int32 (b, length) and labels, integers (b,) or one-hot float32 (b, classes)."""
        if self.tokens is None:
            raise ValueError(
                "Texts become token ids by the model's tokenizer: pass data.tokenized(model). Received: texts"
            )
        indices = np.asarray(indices, np.int64)
        length = self.length or padded(self.tokens.lengths[indices].max(initial=1), self.tokens.max_length)
        return self.tokens.gather(indices, length), self._as_asked(self.y[indices])

    def of_one_length(self, length: int | None = None) -> "Texts":
        """The same tokens in batches of one length, by default that of the longest text, rounded up."""
        if self.tokens is None:
            raise ValueError("Only token ids have a length: pass data.tokenized(model). Received: texts")
        longest = int(self.tokens.lengths.max(initial=1))
        if length is not None and length < longest:
            raise ValueError(f"`length` must be at least {longest}, that of the longest text. Received: {length}")
        return self._with(self.tokens, length or padded(longest, self.tokens.max_length))

    def tokenized(self, layer: Any) -> "Texts":
        """The same texts with the token ids that the `preprocessing` of a model gives them."""
        ids, whole = token_ids(layer, self.texts)
        return self._with(Tokens(ids, whole, pad_id=layer.pad_id, max_length=layer.max_length))

    def for_model(self, model: Any) -> "Texts":
        """These texts where they are tokens already, else tokenised by the model's tokenizer."""
        return self if self.tokens is not None else self.tokenized(tokenizing_layer(model))

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of what `gather` gives."""
        if self.tokens is None:
            return hashlib.sha256(repr(self.texts).encode()).hexdigest()
        digest = hashlib.sha256(f"tokens {self.tokens.pad_id} {self.tokens.max_length}".encode())
        for part in (self.tokens.flat, self.tokens.starts):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<Texts: {len(self)} of {self.num_classes} classes>"

    def _with(self, tokens: Tokens | None, length: int | None = None) -> "Texts":
        return Texts(
            self.texts, self.names, self.y, num_classes=self.num_classes, one_hot=self.one_hot, tokens=tokens,
            length=length,
        )  # fmt: skip

    def _as_asked(self, targets: np.ndarray) -> np.ndarray:
        if not self.one_hot:
            return targets
        return (targets[:, None] == np.arange(self.num_classes)).astype(np.float32)


def tokenizing_layer(model: Any) -> Any:
    """The layer of a text model that knows its tokenizer: a layer with `encode`, or the argument itself where it has it."""
    if hasattr(model, "encode"):
        return model
    found = None
    if hasattr(model, "layers"):
        from ..core.surgery import walk  # Keras is there with the model; reading texts needs none

        found = next((layer for layer in walk(model) if hasattr(layer, "encode")), None)
    if found is None:
        raise ValueError(
            "Texts need a model that takes token ids and knows its tokenizer: build it with kt.build_text_classifier. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}"
        )
    return found


def dataset(texts: Texts, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> Any:
    """A `tf.data.Dataset` of (token ids, labels), or of (strings, labels) before there are token ids.

    Shuffled anew, with the seed, every time it is read; pairs of texts are a tuple of two string tensors.
    """
    import tensorflow as tf

    label = texts.labels[:1]
    kind = tf.as_dtype(label.dtype)

    def tokens(indices: Any) -> tuple[Any, Any]:
        x, y = tf.numpy_function(texts.gather, [indices], [tf.int32, kind], stateful=False)
        return tf.ensure_shape(x, (None, None)), tf.ensure_shape(y, (None, *label.shape[1:]))

    indices = tf.data.Dataset.range(len(texts))
    if shuffle:
        indices = indices.shuffle(len(texts), seed=seed, reshuffle_each_iteration=True)
    if texts.tokens is not None:
        return indices.batch(batch_size).map(tokens, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    several = not isinstance(texts.texts[0], str)
    columns = [tf.constant(list(column)) for column in (zip(*texts.texts, strict=True) if several else [texts.texts])]
    labels = tf.constant(texts.labels)

    def strings(at: Any) -> tuple[Any, Any]:
        found = tuple(tf.gather(column, at) for column in columns)
        return found if several else found[0], tf.gather(labels, at)

    return indices.batch(batch_size).map(strings, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
