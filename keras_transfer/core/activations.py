"""The activations of a frozen prefix, computed once for every view of every sample and kept in memory or on disk."""

import hashlib
import re
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from .activation_store import ActivationStore, Kept
from .prefix import Cut
from .progress import progress
from .source import ArraySource, Batches, Source
from .surgery import describe
from .texts import padded

MEMORY = 2**30  # larger activations go to a temporary file, memory-mapped
BATCH = 32
_STORE = ActivationStore()


class InferenceMode(keras.layers.Layer):
    """Run a model in inference mode whatever surrounds it: in a graph, `training=False` would be overridden by `fit`."""

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def call(self, x: Any) -> Any:
        return self.model(x, training=False)

    def compute_output_spec(self, x: Any) -> Any:
        return self.model.compute_output_spec(x)


class _View(keras.layers.Layer):
    """One view of the pictures through the frozen prefix: augmented, or as they are."""

    def __init__(self, cut: Cut, augmented: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.augmentation, self.prefix, self.augmented = cut.augmentation, cut.prefix, augmented

    def call(self, x: Any) -> Any:
        if self.augmentation is not None:
            x = self.augmentation(x, training=self.augmented)
        return self.prefix(x, training=False)

    def compute_output_spec(self, x: Any) -> Any:
        if self.augmentation is not None:
            x = self.augmentation.compute_output_spec(x)
        return self.prefix.compute_output_spec(x)


class Runner:
    """Run the frozen prefix of a cut on batches, as they are or augmented; each is compiled once, for all data sets."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._models: dict[bool, keras.Model] = {}
        self._size = 0

    def __call__(self, x: np.ndarray, augmented: bool) -> np.ndarray:
        if augmented not in self._models:
            first = (self.cut.augmentation or self.cut.prefix).inputs[0]
            pictures = keras.Input(batch_shape=first.shape, dtype=first.dtype)
            self._models[augmented] = keras.Model(pictures, _View(self.cut, augmented)(pictures))
        count = len(x)
        self._size = max(self._size, count)
        if count < self._size:  # a short last batch would be compiled anew
            x = np.concatenate([x, np.repeat(x[-1:], self._size - count, axis=0)])
        out = self._models[augmented].predict_on_batch(x)[:count]
        return np.asarray(keras.ops.convert_to_numpy(out), dtype="float32")


def run_prefix(
    runner: Runner,
    batches: Iterable[Any],
    count: int,
    views: int,
    text: str,
    show: bool | None = None,
    plain: np.ndarray | None = None,
) -> np.ndarray:
    """The activations of `count` samples, shape (views, count, ...), float32: of the pictures, then of augmented ones.

    plain: those of the pictures as they are (count, ...), where they are known already.
    """
    kept: np.ndarray | None = None
    at = 0
    for x in progress(batches, total=-(-count // BATCH), text=text, show=show):
        for view in range(views):
            known = plain is not None and view == 0
            out = plain[at : at + len(x)] if known else runner(np.asarray(x), augmented=view > 0)  # type: ignore[index]
            if kept is None:
                kept = _room((views, count, *out.shape[1:]))
            kept[view, at : at + len(out)] = out
        at += len(x)
    if kept is None or at != count:
        raise ValueError(f"The data must give the same number of samples every time. Received: {count}, then {at}")
    return kept


def activations(runner: Runner, source: Source, views: int, seed: int, show: bool | None = None) -> np.ndarray:
    """`run_prefix` over an indexable source; found again without computing when prefix, data and views are the same.

    The views are those that the augmentation draws from the random state it is in; found again, they leave behind the
    state that drawing them would have left. The first view, the picture as it is, is found again whatever the others
    were.
    """
    states = _random_states(runner.cut) if views > 1 else []
    content = source.fingerprint
    plain = f"{_weights_key(runner.cut)}/{content}" if content else ""
    drawn = (seed, *(one.tolist() for one in _values(states))) if states else ""
    augmented = f"/{describe(runner.cut.augmentation)}/{views}/{drawn}" if views > 1 else ""
    found = _STORE.find(plain + augmented) if content and views > 1 else None
    if found is not None:
        for state, value in zip(states, found.states, strict=True):
            state.assign(value)
        return found.views
    known = _STORE.find_plain(plain) if content else None
    if known is not None and views == 1:
        return known.views
    started = time.perf_counter()
    batches = Batches(_of_one_length(runner.cut, source), BATCH)
    parts = (batches[i][0] for i in range(batches.num_batches))
    first = None if known is None else known.views[0]
    made = run_prefix(runner, parts, len(source), views, "Running the frozen part once", show, first)
    if content:
        seconds = time.perf_counter() - started + (0.0 if known is None else known.seconds)
        _STORE.keep(plain + augmented, plain, Kept(made, _values(states), seconds))
    return made


def saved_seconds() -> float:
    """The seconds that activations which were found again would have taken, since the process began.

    With them a training that shares frozen features can tell what it would have taken by itself.
    """
    return _STORE.saved


def forget() -> None:
    """Drop all activations that are kept in memory for a second fit."""
    _STORE.forget()


class ViewBatches(Batches):
    """Batches of cached activations (views, n, ...): every epoch shows one view of each sample, the next epoch the next.

    lengths (n,): of what was computed for each token only so much is shown as the longest sample of the batch has.
    """

    def __init__(
        self,
        views: np.ndarray,
        rest: list[np.ndarray],
        batch_size: int = 32,
        *,
        lengths: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ArraySource(np.arange(views.shape[1]), *rest), batch_size, **kwargs)
        self.views, self.lengths = views, lengths if views.ndim == 4 else None
        self._first: np.ndarray = np.random.default_rng(self.seed).integers(0, len(views), (views.shape[1],))

    @property
    def ragged(self) -> bool:
        return self.lengths is not None

    def gather(self, indices: np.ndarray) -> tuple[Any, ...]:
        which = (self._first[indices] + self.epoch) % len(self.views)
        if self.lengths is None:
            return self.views[which, indices], *self.source.gather(indices)[1:]
        length = padded(self.lengths[indices].max(), self.views.shape[2])
        return self.views[which, indices, :length], *self.source.gather(indices)[1:]


def _of_one_length(cut: Cut, source: Source) -> Source:
    """Texts padded to one length where an activation is kept for each token; else as they are, a batch as it comes."""
    by_token = None in tuple(cut.prefix.outputs[0].shape[1:])
    return source.of_one_length() if by_token and hasattr(source, "of_one_length") else source


def _room(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * int(np.prod(shape))
    if size <= MEMORY:
        return np.empty(shape, "float32")
    return np.memmap(tempfile.TemporaryFile(), dtype="float32", mode="w+", shape=shape)  # type: ignore[call-overload,no-any-return]


def _random_states(cut: Cut) -> list[keras.Variable]:
    """The variables that the random layers of the augmentation draw from."""
    if cut.augmentation is None:
        return []
    weights = {id(one) for one in cut.augmentation.weights}  # Keras counts random states as variables, not as weights
    return [one for one in cut.augmentation.variables if id(one) not in weights]


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(one)) for one in variables]


def _weights_key(cut: Cut) -> str:
    """What names the frozen prefix: what it computes, and its weights; the augmentation before it is another's name."""
    # Nothing in it trains now; a flag of a layer without weights is what somebody left there.
    told = re.sub(r"'trainable': (True|False)", "", repr(describe(cut.prefix)))
    digest = hashlib.sha256(told.encode())
    for variable in cut.prefix.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()
