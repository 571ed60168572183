"""Pictures mixed in pairs, MixUp and CutMix: other pairs in every batch, and labels that say how much of each is there."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from .class_weights import class_of
from .numbers import number
from .source import Batches, Source

STRENGTHS = {"mixup": 0.2, "cutmix": 1.0}  # what the papers take for ImageNet


class Mix:
    """MixUp or CutMix: pairs within a batch, each with its own share, `lambda ~ Beta(strength, strength)`.

    MixUp (Zhang et al. 2018, arXiv:1710.09412): `x = lambda x_i + (1 - lambda) x_j`. CutMix (Yun et al. 2019,
    arXiv:1905.04899): a box of x_j with sides sqrt(1 - lambda) times those of the picture, its centre anywhere in it, is
    pasted into x_i; what lies outside is cut off, and lambda becomes the share of x_i that is really left, counted in
    pixels. In both `y = lambda y_i + (1 - lambda) y_j`, j a random permutation of the batch. The papers' code draws one
    lambda a batch; one a pair has the same mean and less noise. (`keras.layers.CutMix` labels by the box before it is
    rounded to pixels, and keeps it inside the picture.)

    method: "mixup" or "cutmix". strength: above 0; None is the papers' 0.2 and 1. Calling it with a batch (B, h, w, C),
    float, and a NumPy generator gives the mixed batch, the partners j (B,), and the shares lambda (B,).

    Example: `x, partner, share = Mix("cutmix")(x, np.random.default_rng(0))`
    """

    def __init__(self, method: str, strength: float | None = None) -> None:
        if method not in tuple(STRENGTHS):
            raise ValueError(f"`mix` must be 'mixup', 'cutmix' or None. Received: {method!r}")
        self.method = method
        self.strength = number("mix_strength", STRENGTHS[method] if strength is None else strength, above=0.0)

    def __call__(self, x: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if x.ndim != 4:
            raise ValueError(f"`mix` is for pictures (batch, height, width, channels). Received: shape {x.shape}")
        partner = random.permutation(len(x))
        share = random.beta(self.strength, self.strength, len(x))
        if self.method == "mixup":
            kept = share.astype(x.dtype).reshape(-1, 1, 1, 1)
            return kept * x + (1 - kept) * x[partner], partner, share
        top, bottom = _sides(x.shape[1], share, random)
        left, right = _sides(x.shape[2], share, random)
        mixed = x.copy()
        for i, j in enumerate(partner):
            box = slice(top[i], bottom[i]), slice(left[i], right[i])
            mixed[(i, *box)] = x[(j, *box)]
        return mixed, partner, 1 - (bottom - top) * (right - left) / (x.shape[1] * x.shape[2])


def _sides(length: int, share: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the boxes begin and end along one side of the picture, in pixels, cut off at its edges."""
    half = (length * np.sqrt(1 - share)).astype(int) // 2
    centre = random.integers(0, length, len(share))
    return np.clip(centre - half, 0, length), np.clip(centre + half, 0, length)


def as_mix(mix: str | Mix | None, strength: float | None = None) -> Mix | None:
    """The `Mix` that two settings of a fit name; None where nothing is mixed."""
    if mix is None and strength is not None:
        raise ValueError(f"`mix_strength` needs `mix`, 'mixup' or 'cutmix'. Received: {strength!r} without it")
    return mix if mix is None or isinstance(mix, Mix) else Mix(mix, strength)


class MixedBatches(Batches):
    """Batches of a source, augmented, then mixed; labels become rows (B, classes) of shares.

    With weights w (of samples, times those of the classes) the loss of a pair is `lambda w_i l(y_i) + (1 - lambda) w_j
    l(y_j)`: the rows are in that proportion, and the batch's weights are its sums. All draws follow from the seed, the
    epoch (counted from `before`) and the batch, so that an interrupted training goes on with the same ones.
    """

    def __init__(
        self,
        source: Source,
        mix: Mix,
        classes: int,
        augmentation: keras.Model | None = None,
        class_weight: Mapping[int, float] | None = None,
        batch_size: int = 32,
        *,
        before: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(source, batch_size, **kwargs)
        self.mix, self.classes, self.augmentation, self.before = mix, classes, augmentation, before
        self.class_weight = class_weight

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        x, y, *weight = super().__getitem__(index)
        random = np.random.default_rng([self.seed, self.before + self.epoch, index])
        mixed, partner, share = self.mix(self._augmented(np.asarray(x, "float32"), random), random)
        rows, share = as_rows(y, self.classes), share[:, None]
        if not weight and self.class_weight is None:
            return mixed, (share * rows + (1 - share) * rows[partner]).astype("float32")
        weighed = rows * self._weights(y, *weight)[:, None]
        rows = share * weighed + (1 - share) * weighed[partner]
        total = rows.sum(-1)
        rows = rows / np.where(total > 0, total, 1)[:, None]
        return mixed, rows.astype("float32"), total.astype("float32")

    def _augmented(self, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self.augmentation is None:
            return x
        weights = {id(one) for one in self.augmentation.weights}
        for held in self.augmentation.variables:
            if id(held) not in weights:  # the state that a random layer draws from
                held.assign(random.integers(0, 2**31, held.shape).astype(held.dtype))
        return np.array(keras.ops.convert_to_numpy(self.augmentation(x, training=True)), dtype="float32")

    def _weights(self, y: Any, weight: Any = 1.0) -> np.ndarray:
        of = self.class_weight or {}
        by_class = np.array([of.get(int(one), 1.0) for one in class_of(np.asarray(y))])
        return np.asarray(by_class * np.asarray(weight, "float64"))


class RowBatches(keras.utils.PyDataset):
    """The batches of another `PyDataset`, their labels as rows (B, classes)."""

    def __init__(self, batches: keras.utils.PyDataset, classes: int) -> None:
        super().__init__()
        self.batches, self.classes = batches, classes

    @property
    def num_batches(self) -> int | None:
        return self.batches.num_batches  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        x, y, *weight = self.batches[index]
        return x, as_rows(y, self.classes), *weight

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


def as_rows(labels: Any, classes: int) -> np.ndarray:
    """Labels as rows (B, classes): integers one-hot, rows as they are."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] != 1:
        return labels.astype("float32")
    return np.eye(classes, dtype="float32")[class_of(labels)]


def rows_of(batches: Any, classes: int) -> Any:
    """Validation batches, those of a `PyDataset` or a `tf.data.Dataset`, with their labels as rows."""
    if batches is None:
        return None
    if isinstance(batches, keras.utils.PyDataset):
        return RowBatches(batches, classes)
    if not hasattr(batches, "element_spec"):
        raise TypeError(
            "With `mix` validation data must be ImageData, arrays, a tf.data.Dataset or a PyDataset. "
            f"Received: {type(batches).__name__}"
        )
    import tensorflow as tf

    def rows(x: Any, y: Any, *weight: Any) -> tuple[Any, ...]:
        if len(y.shape) == 2 and y.shape[1] != 1:
            return x, tf.cast(y, "float32"), *weight
        return x, tf.one_hot(tf.cast(tf.reshape(y, [-1]), "int32"), classes), *weight

    return batches.map(rows)
