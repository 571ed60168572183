"""The activations of a frozen prefix, computed once for every view of every sample and kept in memory or on disk."""

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from .prefix import Cut
from .progress import progress
from .source import ArraySource, Batches, Source
from .surgery import describe

MEMORY = 2**30  # larger activations go to a temporary file, memory-mapped
BATCH = 32
STORE = 2**29  # what is kept for a second fit on the same data
_store: OrderedDict[str, tuple[np.ndarray, list[np.ndarray]]] = OrderedDict()  # and the random state after the pass


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
    runner: Runner, batches: Iterable[Any], count: int, views: int, text: str, show: bool | None = None
) -> np.ndarray:
    """The activations of `count` samples, shape (views, count, ...), float32: of the pictures, then of augmented ones."""
    kept: np.ndarray | None = None
    at = 0
    for x in progress(batches, total=-(-count // BATCH), text=text, show=show):
        for view in range(views):
            out = runner(np.asarray(x), augmented=view > 0)
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
    state that drawing them would have left.
    """
    states = _random_states(runner.cut) if views > 1 else []
    content = source.fingerprint
    drawn = (seed, *(one.tolist() for one in _values(states))) if states else ""
    key = f"{_weights_key(runner.cut)}/{content}/{views}/{drawn}" if content else ""
    if key in _store:
        _store.move_to_end(key)
        found, after = _store[key]
        for state, value in zip(states, after, strict=True):
            state.assign(value)
        return found
    plain = Batches(source, BATCH)
    parts = (plain[i][0] for i in range(plain.num_batches))
    found = run_prefix(runner, parts, len(source), views, "Running the frozen part once", show)
    if key and not isinstance(found, np.memmap) and found.nbytes <= STORE:
        _store[key] = found, _values(states)
        while sum(one.nbytes for one, _ in _store.values()) > STORE:
            _store.popitem(last=False)
    return found


def forget() -> None:
    """Drop all activations that are kept in memory for a second fit."""
    _store.clear()


class ViewBatches(Batches):
    """Batches of cached activations (views, n, ...): every epoch shows one view of each sample, the next epoch the next."""

    def __init__(self, views: np.ndarray, rest: list[np.ndarray], batch_size: int = 32, **kwargs: Any) -> None:
        super().__init__(ArraySource(np.arange(views.shape[1]), *rest), batch_size, **kwargs)
        self.views = views
        self._first: np.ndarray = np.random.default_rng(self.seed).integers(0, len(views), (views.shape[1],))

    def gather(self, indices: np.ndarray) -> tuple[Any, ...]:
        which = (self._first[indices] + self.epoch) % len(self.views)
        return self.views[which, indices], *self.source.gather(indices)[1:]


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
    digest = hashlib.sha256(
        repr([describe(part) for part in (cut.augmentation, cut.prefix) if part is not None]).encode()
    )
    for variable in cut.prefix.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()
