"""Find a learning rate by one short sweep from low to high, after which the model is exactly as it was."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import keras

from ..core.devices import scope
from ..core.feeding import Feed, NewOrder, coerce, for_keras, plain_feed
from ..core.numbers import count
from ..core.progress import progress
from ..core.surgery import functional
from ..core.texts import for_model
from .constant_rate import batches_a_step, constant_twin
from .labels import loss_for
from .learning_rates import LearningRates
from .rate_sweep import LearningRateFinder

__all__ = ["LearningRateFinder", "LearningRates", "lr_find"]


def lr_find(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    low: float = 1e-7,
    high: float = 1.0,
    steps: int = 100,
    batch_size: int | None = None,
    optimizer: str | keras.optimizers.Optimizer | None = None,
    loss: Any = None,
    stop_factor: float = 4.0,
    smoothing: float = 0.03,
    seed: int = 0,
    show_progress: bool | None = None,
) -> LearningRates:
    """Try rising learning rates on `model`, a batch each, and suggest one; the model is left exactly as it was.

    Smith 2017 (arXiv:1506.01186); the sweep is that of `LearningRateFinder`. Two suggestions: `valley`, half way, on the
    logarithmic axis, between where the smoothed loss begins to fall and where it is lowest (the idea of fastai's rule,
    whose longest falling subsequence begins long before the fall where a plateau is noisy), and `steepest`.

    x, y: `ImageData`, arrays, a `tf.data.Dataset` or `PyDataset`; data with fewer than `steps` batches repeats. A rate
    holds for the batch size it was found with: by default that of `ImageData`, else 32. What trains in `model` is swept;
    freeze first. A compiled model is swept with its own loss and training step, and with a fresh optimizer made from the
    config of its own, with a constant rate; another one or `loss` replace those. A model that is not compiled is swept
    with Adam and the cross-entropy that suits labels and outputs. Weights, BatchNorm statistics, random states,
    optimizer, compile state and history are put back, also when the sweep is interrupted.

    Raises `ValueError` or `TypeError` for a wrong range, empty data, an optimizer without one `learning_rate`, a loss
    that is no number at `low`.

    Example:
        rates = kt.tuning.lr_find(model, data)
        kt.tuning.full(model, data, learning_rate=rates.valley)
    """
    finder = LearningRateFinder(low, high, steps, stop_factor=stop_factor, smoothing=smoothing)
    _check_trains(model)
    x = for_model(x, model)
    if hasattr(x, "splits"):
        batch_size = x.batch_size if batch_size is None else batch_size
        x = x.splits["train"]
    own = loss is None and getattr(model, "compiled", False)
    data = plain_feed(coerce(x, y), Feed(32 if batch_size is None else count("batch_size", batch_size), True, seed))
    _check_repeats(data)
    if optimizer is None:
        optimizer = model.optimizer if own else "adam"
    with scope(model):
        swept = model if own else _copy(model)
        twin = constant_twin(keras.optimizers.get(optimizer), finder.low)
        if not own:
            swept.compile(twin, loss=loss_for(model, loss, x, y))
    bar: Any = progress(range(finder.steps), total=finder.steps, text="Trying learning rates", show=show_progress)
    with _borrowed(model, twin) if own else nullcontext(), closing(bar):
        try:
            epochs = finder.steps * batches_a_step(twin) * swept.steps_per_execution  # enough, be an epoch one batch
            swept.fit(
                for_keras(data), epochs=epochs, shuffle=False, verbose=0, callbacks=[NewOrder(data), finder, _Bar(bar)]
            )
        finally:
            finder.restore()
    return finder.result


class _Bar(keras.callbacks.Callback):
    """Moves a progress bar on, a batch at a time."""

    def __init__(self, bar: Iterator[int]) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        next(self._bar, None)


def _check_trains(model: keras.Model) -> None:
    if not model.built:
        raise ValueError(
            f"The model must be built (call it once, or give it an input shape) first. Received: model {model.name!r}"
        )
    if not model.trainable_weights:
        raise ValueError("At least one layer must train; unfreeze the head first. Received: a frozen model")


def _check_repeats(data: Any) -> None:
    """Data must be there, and there again in the next epoch."""
    if hasattr(data, "__next__"):
        raise TypeError(f"A generator must come as a tf.data.Dataset or a PyDataset. Received: {type(data).__name__}")
    if isinstance(data, keras.utils.PyDataset):
        empty = data.num_batches == 0
    else:
        empty = hasattr(data, "cardinality") and int(data.cardinality()) == 0
    if empty or data is None:
        raise ValueError("The data must hold at least one batch. Received: an empty data set")


def _copy(model: keras.Model) -> keras.Model:
    """Another model over the same layers and weights, which can be compiled without a trace in `model`."""
    if not type(model).__module__.startswith("keras."):
        raise ValueError(
            "A model of a class of its own must be compiled, and is swept with its own loss: leave `loss` out. "
            f"Received: {type(model).__name__}"
        )
    graph = functional(model)
    assert graph is not None  # it is built, and Keras' own
    return keras.Model(graph.input, graph.output, name=model.name)


@contextmanager
def _borrowed(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Let `model` train with another optimizer for a while; what `fit` writes on the model is put back.

    Written past the model's own `__setattr__`, which would add the optimizer to what a SavedModel holds. The training
    step is not kept, but made anew by the next fit: JAX would run the one traced with the other optimizer.
    """
    mixed = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    if mixed and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    kept = {**vars(model), "train_function": None}
    vars(model).update(optimizer=optimizer, train_function=None)
    try:
        yield
    finally:
        for name in vars(model).keys() - kept.keys():
            del vars(model)[name]
        vars(model).update(kept)
