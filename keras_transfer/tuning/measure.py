"""The accuracy of a model that is asked for again and again, computed no more often than it can have changed."""

import hashlib
from typing import Any

import keras
import numpy as np

from ..core.activations import Runner, activations
from ..core.outputs import gives_logits
from ..core.prefix import cut
from ..core.reading import in_order
from ..core.source import ArraySource, Source


class Measure:
    """The accuracy of a model on its data; a frozen beginning runs once, and nothing where no weight has changed."""

    def __init__(self, model: keras.Model, data: Any, batch_size: int) -> None:
        self.model, self.data, self.batch_size = model, data, batch_size
        self._last: tuple[bytes, float] | None = None
        self._features: tuple[bytes, ArraySource] | None = None
        self._parts: dict[tuple[int, ...], tuple[Runner, keras.Model]] = {}

    def __call__(self) -> float:
        state = _digest(self.model)
        if self._last is None or self._last[0] != state:
            self._last = state, self._accuracy()
        return self._last[1]

    def _accuracy(self) -> float:
        model, data = self._behind_the_frozen()
        middle = 0.0 if gives_logits(self.model) else 0.5
        right = count = 0
        for x, y, _ in in_order(data, batch_size=self.batch_size):
            if y is None:
                raise ValueError("The source task's data must have labels: pass (x, y). Received: x alone")
            outputs = np.asarray(model.predict_on_batch(x), "float32")
            if outputs.ndim != 2:
                raise ValueError(
                    f"The source model must give (batch, classes). Received: outputs of shape {outputs.shape}"
                )
            y = np.asarray(y)
            labels = y.argmax(1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
            classes = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > middle).astype(int)
            right, count = right + int((classes == labels).sum()), count + len(labels)
        if not count:
            raise ValueError("The source task's data must hold at least one sample. Received: none")
        return right / count

    def _behind_the_frozen(self) -> tuple[keras.Model, Any]:
        """The part behind what is frozen, and the features that go in; or the whole, and the data as it is."""
        labels = self.data.arrays[1] if isinstance(self.data, ArraySource) else getattr(self.data, "labels", None)
        here = cut(self.model) if isinstance(self.data, Source) and labels is not None else None
        if here is None:
            return self.model, self.data
        key = tuple(id(variable) for variable in here.prefix.weights)
        if key not in self._parts:
            self._parts = {key: (Runner(here), here.suffix)}
            self._features = None
        runner, suffix = self._parts[key]
        state = _digest(here.prefix)
        if self._features is None or self._features[0] != state:
            found = activations(runner, self.data, views=1, seed=0, show=False)[0]
            self._features = state, ArraySource(found, labels)
        return suffix, self._features[1]


def _digest(model: keras.Model) -> bytes:
    """What tells whether a weight has changed since."""
    digest = hashlib.blake2b()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.digest()
