"""What to train of a pretrained model: the head on frozen features, or everything."""

from functools import partial
from typing import Any

import keras

from ..core.freezing import came_frozen, freeze, unfreeze
from ..core.registry import register
from .checking import refuse_injected
from .stage import AS_IT_IS, Rate, Stage
from .stages import fit_stages
from .text import reads_text, scratch_stage, text_stage

EPOCHS = 20
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
    refuse_injected(model)
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
    is pretrained), else 1e-3 (from scratch). A text model is trained as `kt.tuning.text_stage` says: AdamW, 2e-5 in the
    encoder and 1e-3 in the head, 3 epochs with a warm-up; from scratch 5e-4 in 20 epochs.
    """
    refuse_injected(model)
    scratch = not came_frozen(model)
    unfreeze(model)
    if reads_text(model):
        make = scratch_stage if scratch else partial(text_stage, name="train")
        rate, epochs = settings.pop("learning_rate", None), settings.pop("epochs", None)
        return fit_stages(model, [make(model, AS_IT_IS, epochs=epochs, learning_rate=rate)], x, y, **settings)
    return train(model, x, y, **{"learning_rate": SCRATCH_RATE if scratch else FULL_RATE, **_given(settings)})


def train(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    learning_rate: Rate,
    epochs: int | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Fit what trains in `model` with Adam and the cross-entropy that suits labels and outputs.

    With validation data and `keep="best"` the fit ends `patience` epochs after the best validation accuracy (of equal
    ones, the lower loss is better: small sets give many equal ones) and puts that epoch's weights back;
    `history.best_epoch` is that epoch, counted from 0. With `keep="last"` validation chooses nothing: all epochs are
    run, the last is kept, and `best_epoch` is None.
    """
    stage = Stage("train", AS_IT_IS, EPOCHS if epochs is None else epochs, learning_rate)
    return fit_stages(model, [stage], x, y, **settings)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without a rate that was left open (None), so that the strategy's own holds."""
    return {name: value for name, value in settings.items() if not (name == "learning_rate" and value is None)}
