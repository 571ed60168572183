"""What becomes of BatchNorm when a model is tuned: the policies as words, and its statistics computed anew."""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from .prefix import cut
from .reading import in_order
from .selection import Where, select
from .surgery import sublayers

Model = TypeVar("Model", bound=keras.Model)

# freeze: a BatchNorm that came frozen stays in inference mode, with the statistics of the data that it was trained on.
# train: it trains, with the statistics of each batch; inference uses their moving averages.
# reestimate: it trains, and at the end `reestimate` puts exact averages in the place of the moving ones, which a momentum
#     of 0.99 or 0.999 leaves near their start values after a few hundred steps.
POLICIES = ("freeze", "train", "reestimate")


def training_batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The BatchNorm layers whose statistics move in training: their own flag and that of every layer around them say so."""
    found: dict[int, keras.layers.BatchNormalization] = {}

    def visit(layer: keras.layers.Layer) -> None:
        if layer.trainable:
            if isinstance(layer, keras.layers.BatchNormalization):
                found[id(layer)] = layer
            for child in sublayers(layer):
                visit(child)

    visit(model)
    return list(found.values())


def reestimate(model: Model, x: Any, y: Any = None, *, where: Where = None, batch_size: int = 32) -> Model:
    """Compute the statistics of the BatchNorm layers that train anew over `x`; no other weight changes.

    Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization (arXiv:1803.05407), 3.2:
    `mean = sum_b n_b mean_b / sum_b n_b` and `variance = sum_b n_b variance_b / sum_b n_b` over batches b of n_b samples,
    each in training mode: with the statistics of its own batch in the layers before, augmented, with Dropout, as the
    moving averages see it, without their lag. A frozen beginning of the model runs in inference mode, as in our fits. The
    states of the random layers are put back, so that a second call gives the same.

    x: arrays (labels `y` may be left out), a finite `tf.data.Dataset` or `PyDataset`, a source with `gather` or `ImageData`
    (its training split). batch_size: for arrays and sources; take that of the training. where: which of the layers that
    train (all by default). Frozen BatchNorm stays as it is, bit for bit; a model in which none trains comes back as it is.

    Example: `kt.core.batch_norm.reestimate(model, train_pictures)`
    """
    norms = training_batch_norms(model)
    if where is not None:
        chosen = {id(layer) for _, layer in select(model, where)}
        norms = [norm for norm in norms if id(norm) in chosen]
        if not norms:
            raise ValueError(
                "`where` must name a BatchNormalization that trains; let one train first: "
                f"kt.unfreeze(model, where, batch_norm='train'). Received: where={where!r}"
            )
    renormed = [norm.name for norm in norms if norm.renorm]
    if renormed:
        raise ValueError(
            "Batch renormalisation needs its moving statistics in training, so they cannot be computed anew; build the layer "
            f"with renorm=False. Received: {renormed[0]!r}"
        )
    if norms:
        batches = in_order(x.splits["train"] if hasattr(x, "splits") else x, y, batch_size=batch_size)
        for norm, statistics in zip(norms, _statistics(model, norms, batches), strict=True):
            norm.moving_mean.assign(statistics[0])
            norm.moving_variance.assign(statistics[1])
    return model


def _statistics(
    model: keras.Model, norms: list[keras.layers.BatchNormalization], batches: Iterator[tuple[Any, Any, Any]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    before = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    passes = _TrainingPass(model, norms)
    count = 0
    try:
        with passes.recording():
            for x, _, _ in batches:
                passes.predict_on_batch(x)
                count += 1
    finally:
        for variable, value in before:
            variable.assign(value)
    if not count:
        raise ValueError("There must be at least one batch of data. Received: none")
    return [(mean.numpy(), variance.numpy()) for _, mean, variance in passes.records]


class _TrainingPass(keras.Model):
    """The model in training mode, its frozen beginning in inference mode; a record for each BatchNorm: (n, mean, variance)."""

    def __init__(self, model: keras.Model, norms: list[keras.layers.BatchNormalization]) -> None:
        super().__init__(name="training_pass")
        here = cut(model)
        self.parts = (
            [model] if here is None else [part for part in (here.augmentation, here.prefix, here.suffix) if part]
        )
        self.frozen = None if here is None else here.prefix
        self.norms = norms
        self.records = [
            tuple(
                self.add_weight(shape=shape, dtype="float32", initializer="zeros", trainable=False, autocast=False)
                for shape in ((), norm.moving_mean.shape, norm.moving_variance.shape)
            )
            for norm in norms
        ]
        self.built = True

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x, training=part is not self.frozen)
        return ops.convert_to_tensor(self.records[0][0])

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Have every call of a BatchNorm noted, of one that is called several times too.

        With momentum 0 a call leaves the statistics of its batch in the layer. Only functions that are traced meanwhile
        see it, which are those of this pass: the model's own keep the momentum that they were traced with.
        """
        momentums = [norm.momentum for norm in self.norms]
        try:
            for norm, record in zip(self.norms, self.records, strict=True):
                norm.momentum = 0.0
                norm.call = _noted(norm, *record)
            yield
        finally:
            for norm, momentum in zip(self.norms, momentums, strict=True):
                norm.momentum = momentum
                if "call" in vars(norm):
                    del norm.call


def _noted(norm: keras.layers.BatchNormalization, count: Any, mean: Any, variance: Any) -> Any:
    """The layer's `call`, and a running mean of the statistics that it leaves, weighted by the size of the batch."""
    plain = norm.call

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        outputs = plain(inputs, training=training, mask=mask)
        size = ops.cast(ops.shape(inputs)[0], "float32")
        count.assign(count + size)
        mean.assign(mean + (norm.moving_mean - mean) * (size / count))
        variance.assign(variance + (norm.moving_variance - variance) * (size / count))
        return outputs

    return call
