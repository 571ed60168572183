"""Solve a head instead of fitting it: what every closed form on frozen features shares."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from .block_states import block_states, learned
from .devices import scope
from .features import Features, head_of, labelled_features
from .freezing import freeze, unfreeze
from .messages import nearest
from .outputs import classification_loss, gives_logits
from .texts import for_model

# What every strategy is called with, and what a closed form has no use for among it.
SHARED = ("validation_data", "callbacks", "verbose", "keep", "seed", "batch_size", "patience", "views", "sample_weight")


class Solution(NamedTuple):
    """The head's Dense layer, kernel (d, classes) and bias (classes,), and what is to be told of how it was found."""

    kernel: np.ndarray
    bias: np.ndarray
    told: dict[str, Any]


Solve = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], Solution]


def solve_head(model: keras.Model, x: Any, y: Any, name: str, solve: Solve, settings: dict[str, Any]) -> Any:
    """Write what `solve(features, labels, sample_weight, classes, seed)` finds into the head, and return a History of one epoch.

    The features are those of the pictures as they are, computed once (`core.features`). settings: `SHARED`, of which
    `batch_size`, `patience` and `views` have nothing to do here and `seed` little; others are a `TypeError`. The model is
    compiled afterwards, with the head alone unfrozen, as `feature_extraction` leaves it.
    """
    validation, callbacks, verbose, keep = _checked(settings)
    dense = _dense(model)
    seed = int(settings.get("seed", getattr(x, "seed", 0)))
    x, validation = for_model(x, model), for_model(validation, model)
    if hasattr(x, "splits"):
        validation = x.splits["validation"] if validation is None else validation
        x = x.splits["train"]
    if hasattr(validation, "splits"):
        validation = validation.splits["validation"]
    begin = time.perf_counter()
    show = None if verbose else False
    known = learned(model)
    with scope(model):
        freeze(model)
        unfreeze(model, "head", batch_norm="train")
        train = labelled_features(model, x, y, settings.get("sample_weight"), show=show)
        held = None if validation is None else labelled_features(model, validation, show=show)
        if not np.isfinite(train.x).all():
            raise ValueError(
                "The features must be finite numbers: look for pictures or weights that are not. "
                f"Received: {(~np.isfinite(train.x)).any(axis=1).sum()} of {len(train.x)} pictures with others"
            )
        classes = dense.units
        labels = integer_labels(train.y, classes, "The labels")
        _every_class(labels, classes)
        loss = classification_loss(model, np.ndim(train.y) == 2 and np.shape(train.y)[1] != 1)
        model.compile("adam", loss, metrics=["accuracy"])
        model.optimizer.build(model.trainable_variables)  # or a saved model warns, loaded, of what the file lacks
        watched = keras.callbacks.CallbackList(callbacks, add_history=True, model=model, epochs=1, steps=1, verbose=0)
        watched.on_train_begin()
        watched.on_epoch_begin(0)
        found = solve(train.x.astype("float64"), labels, _weights(train, labels), classes, seed)
        dense.kernel.assign(found.kernel.astype("float32"))
        dense.bias.assign(found.bias.astype("float32"))
        logs = _judged(dense, train.x, labels, "")
        if held is not None:
            logs |= _judged(dense, held.x, integer_labels(held.y, classes, "The labels of the validation data"), "val_")
        watched.on_epoch_end(0, logs)
        watched.on_train_end(logs)
    history = model.history
    history.best_epoch = 0 if held is not None and keep == "best" else None
    stage = {"name": name, "first_epoch": 0, "learning_rate": None, "schedule": "closed form"}
    stage |= {"trainable": found.kernel.size + found.bias.size, "epochs": 1, "seconds": time.perf_counter() - begin}
    history.stages = [{**stage, **found.told, "blocks": block_states(model, known, None)}]
    if verbose:
        figures = ", ".join(f"{key} {value:.4f}" for key, value in (found.told | logs).items() if _number(value))
        print(f"{name}: {figures}")
    return history


def integer_labels(y: Any, classes: int, what: str) -> np.ndarray:
    """Labels as integers (n,) below `classes`; they come so, as (n, 1), or as one-hot rows."""
    y = np.asarray(y)
    if y.dtype.kind not in "iufb" or y.ndim not in (1, 2):
        raise ValueError(f"{what} must be numbers from 0, or one-hot rows. Received: {y.dtype} of shape {y.shape}")
    if y.ndim == 2 and y.shape[1] != 1:
        if y.shape[1] != classes or not (np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()):
            raise ValueError(
                f"{what} must be one-hot rows with a column for each of {classes} outputs. Received: shape {y.shape}"
            )
        return y.argmax(axis=1)
    y = y.reshape(-1)
    if (y != np.rint(y)).any() or y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"{what} must be 0 to {classes - 1}, the model's outputs. Received: {y.min()} to {y.max()} ({y.dtype})"
        )
    return y.astype("int64")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities, a row a sample."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _checked(settings: dict[str, Any]) -> tuple[Any, list[keras.callbacks.Callback], Any, str]:
    for name, value in settings.items():
        if name not in SHARED:
            raise TypeError(
                "A head in closed form has no epochs, rate or loss to set: leave the setting out. "
                f"{nearest(name, SHARED)} Received: {name}={value!r}"
            )
    keep = settings.get("keep", "best")
    if keep not in ("best", "last"):
        raise ValueError(f"`keep` must be 'best' or 'last'. Received: {keep!r}")
    callbacks = settings.get("callbacks")
    several: Sequence[Any] = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else callbacks or ()
    return settings.get("validation_data"), list(several), settings.get("verbose", "auto"), keep


def _dense(model: keras.Model) -> keras.layers.Dense:
    """The one layer with weights of the head, which makes logits of the features."""
    layers = head_of(model)
    activation = getattr(getattr(layers[-1], "activation", None), "__name__", "") if layers else ""
    if len(layers) != 1 or not layers[0].use_bias or activation not in ("linear", "softmax"):
        names = [layer.name for layer in layers]
        raise ValueError(
            "A closed form needs a head that is one Dense layer with a bias on the features, as kt.build_classifier makes it "
            f"without `hidden` and `head`. Received: model {model.name!r} with {names or 'no head'}"
        )
    if activation == "linear" and not gives_logits(model) and not _ends_in_softmax(model):
        raise ValueError(f"The outputs must be logits, or their softmax. Received: model {model.name!r}")
    return layers[0]


def _ends_in_softmax(model: keras.Model) -> bool:
    last = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def _every_class(labels: np.ndarray, classes: int) -> None:
    missing = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(missing):
        raise ValueError(
            f"Each of the model's {classes} classes needs a training picture; class {missing[0]} has none. "
            f"Received: labels {np.unique(labels)[:20].tolist()}"
        )


def _weights(train: Features, labels: np.ndarray) -> np.ndarray:
    """A weight a sample, more than nothing in each class; ones where the data has none."""
    if train.sample_weight is None:
        return np.ones(len(train.x))
    weights = np.asarray(train.sample_weight, "float64").reshape(-1)
    if len(weights) != len(train.x) or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(f"`sample_weight` must be a number from 0 for each sample. Received: shape {weights.shape}")
    if not (totals := np.bincount(labels, weights)).all():
        raise ValueError(f"Every class needs a sample with weight. Received: class {totals.argmin()} with none")
    return weights


def _judged(dense: keras.layers.Dense, x: np.ndarray, labels: np.ndarray, prefix: str) -> dict[str, float]:
    """Mean cross-entropy and accuracy of the head on features."""
    kernel, bias = (keras.ops.convert_to_numpy(one) for one in (dense.kernel, dense.bias))
    logits = x.astype("float64") @ kernel.astype("float64") + bias
    loss = -float(log_softmax(logits)[np.arange(len(labels)), labels].mean())
    return {f"{prefix}loss": loss, f"{prefix}accuracy": float((logits.argmax(axis=1) == labels).mean())}


def _number(value: Any) -> bool:
    return isinstance(value, float)
