"""What to train of a pretrained model: the head on frozen features, or everything."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ..core.fitting import fit
from ..core.freezing import freeze, owners, unfreeze
from ..core.outputs import classification_loss
from ..core.registry import register

HEAD_RATE, FULL_RATE, SCRATCH_RATE = 1e-3, 1e-4, 1e-3


@register("feature_extraction", kind="strategy")
def feature_extraction(model: keras.Model, x: Any, y: Any = None, **settings: Any) -> keras.callbacks.History:
    """Train the head on the features of the frozen backbone, which runs once for each view of a picture.

    Donahue et al. 2014, DeCAF (arXiv:1310.1531); Sharif Razavian et al. 2014, CNN features off-the-shelf
    (arXiv:1403.6382). With a frozen backbone f and the head h, `min over h of mean CE(h(f(x)), y)`.

    x, y: `ImageData`, arrays, a `tf.data.Dataset` or `PyDataset` of pictures (B, h, w, C) in 0..255 and integer or
    one-hot labels. `settings` are those of `train`: epochs=20, learning_rate=1e-3 (Adam), views=4, patience=5,
    keep="best", validation_data, batch_size, seed, callbacks, verbose, and whatever `fit` takes. Returns the History,
    with `best_epoch`.

    Example:
        model = kt.build_classifier("mobilenet_v2", len(data.class_names))
        kt.tuning.feature_extraction(model, data, epochs=10)
    """
    freeze(model)
    unfreeze(model, "head", batch_norm="train")
    return train(model, x, y, **{"learning_rate": HEAD_RATE, **_given(settings)})


@register("full", kind="strategy")
def full(model: keras.Model, x: Any, y: Any = None, **settings: Any) -> keras.callbacks.History:
    """Train every layer at one rate; a BatchNorm that was frozen with its pretrained statistics stays in inference
    mode.

    Yosinski et al. 2014, How transferable are features in deep neural networks? (arXiv:1411.1792).
    `theta <- theta - rate * Adam(grad CE(model(x; theta), y))` from the pretrained `theta`.

    x, y and `settings` as in `feature_extraction`; learning_rate is 1e-4 where a part of the backbone came frozen (it
    is pretrained), else 1e-3 (from scratch).
    """
    scratch = all(layer.trainable for _, layer in owners(model))
    unfreeze(model)
    return train(model, x, y, **{"learning_rate": SCRATCH_RATE if scratch else FULL_RATE, **_given(settings)})


def train(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    learning_rate: float,
    validation_data: Any = None,
    epochs: int = 20,
    patience: int = 5,
    keep: str = "best",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Fit what trains in `model` with Adam and the cross-entropy that suits labels and outputs.

    With validation data and `keep="best"` the fit ends `patience` epochs after the best validation accuracy (of equal
    ones, the lower loss is better: small sets give many equal ones) and puts that epoch's weights back;
    `history.best_epoch` is that epoch, counted from 0. With `keep="last"` validation chooses nothing: all epochs are
    run, the last is kept, and `best_epoch` is None.
    """
    if keep not in ("best", "last"):
        raise ValueError(f"`keep` must be 'best' or 'last'. Received: {keep!r}")
    if patience < 1:
        raise ValueError(f"`patience` must be at least 1 epoch. Received: {patience!r}")
    if hasattr(x, "splits"):
        validation_data = x.splits["validation"] if validation_data is None else validation_data
        settings = {"batch_size": x.batch_size, "seed": x.seed, **settings}
        x = x.splits["train"]
    if hasattr(validation_data, "splits"):
        validation_data = validation_data.splits["validation"]
    watchers = list(callbacks or ())
    best = _BestEpoch(patience=patience) if validation_data is not None and keep == "best" else None
    if best is not None:
        watchers.append(best)
    history = fit(
        model,
        x,
        y,
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=classification_loss(model, _one_hot(x, y)),
        validation_data=validation_data,
        epochs=epochs,
        callbacks=watchers,
        **settings,
    )
    history.best_epoch = best.best_epoch if best is not None else None
    return history


class _BestEpoch(keras.callbacks.EarlyStopping):
    """Early stopping on validation accuracy whose ties go to the lower loss."""

    def __init__(self, patience: int) -> None:
        super().__init__("val_accuracy", patience=patience, mode="max", restore_best_weights=True)

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self._reached = (-1.0, 0.0)
        self._level = 0

    def get_monitor_value(self, logs: dict[str, float]) -> float | None:
        """How often it has become better, less one in an epoch that is not (Keras compares in float32: no fine sums)."""
        if "val_accuracy" not in logs:
            return None  # an epoch without validation
        now = (logs["val_accuracy"], -logs["val_loss"])
        if now > self._reached:
            self._reached, self._level = now, self._level + 1
            return float(self._level)
        return float(self._level - 1)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without a rate that was left open (None), so that the strategy's own holds."""
    return {name: value for name, value in settings.items() if not (name == "learning_rate" and value is None)}


def _one_hot(x: Any, y: Any) -> bool:
    """Whether the labels are one-hot rows; integer labels may come as (n,) or (n, 1)."""
    if y is None:
        if isinstance(x, (tuple, list)):
            return _one_hot(*x[:2])
        spec = getattr(x, "element_spec", None)
        look: Callable[[], Any] = (lambda: spec[1]) if spec is not None else (lambda: _first_batch(x)[1])
        y = look()
    shape = tuple(getattr(y, "shape", None) or np.shape(y))
    return len(shape) == 2 and shape[1] != 1


def _first_batch(x: Any) -> Any:
    if not hasattr(x, "gather") and not hasattr(x, "__getitem__"):
        raise TypeError(f"A generator must come as a tf.data.Dataset or a PyDataset. Received: {type(x).__name__}")
    return x.gather(np.arange(1)) if hasattr(x, "gather") else x[0]
