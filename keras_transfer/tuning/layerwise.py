"""Fine-tuning at rates by depth: the head first, then everything, each block at a lower rate than the one above it."""

from numbers import Real
from typing import Any

import keras

from ..core.registry import register
from .recipe import EPOCHS, HEAD_EPOCHS, HEAD_RATE, check_pretrained, taken
from .stage import Stage
from .stages import fit_stages
from .text import EPOCHS as TEXT_EPOCHS
from .text import reads_text, text_optimizer

SHARE = 0.3  # of the head's rate: the peak of the second stage, at the head
TEXT_SHARE = 0.05
DECAY = 0.9
CHOICES = ("batch_norm", "optimizer")


@register("layerwise", kind="strategy")
def layerwise(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    layer_decay: float = DECAY,
    schedule: str = "one_cycle",
    **settings: Any,
) -> keras.callbacks.History:
    """Fine-tune in two stages: the head, then every layer at once at rates that fall from block to block to the input.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146): discriminative fine-tuning; Clark et al. 2020, ELECTRA
    (arXiv:2003.10555): a geometric fall. With blocks 1..n from the input, block i trains at

        rate_i = 0.3 * learning_rate * layer_decay ** (n + 1 - i)

    and the head at `0.3 * learning_rate`, Adam, over one cycle of up to `epochs` epochs (Smith 2018, arXiv:1803.09820);
    before that the head alone trains at `learning_rate` (1e-3) for `head_epochs`, because the gradients of a random head
    distort pretrained features (Kumar et al. 2022, arXiv:2202.10054). A BatchNorm that came frozen stays in inference
    mode.

    A text model has 3 epochs in each stage, and AdamW (`kt.tuning.text_optimizer`) with 0.05 in place of 0.3.

    layer_decay: in (0, 1]. schedule: of the second stage. x, y and settings as in `fine_tune`, `batch_norm` and
    `optimizer` among them. Returns the joined History, with `stages` and `best_epoch`. Raises `ValueError` where nothing
    in the model came frozen, or where it has no blocks that we know.

    Example: `kt.tuning.layerwise(model, data, layer_decay=0.8)`
    """
    check_pretrained(model)
    choices = taken(settings, CHOICES)
    rate = HEAD_RATE if learning_rate is None else learning_rate
    if not isinstance(rate, Real):
        raise TypeError(
            f"`learning_rate` must be the head's rate, a number; `schedule` names how it moves. Received: {type(rate).__name__}"
        )
    text = reads_text(model)
    usual, usual_head, share = (TEXT_EPOCHS, TEXT_EPOCHS, TEXT_SHARE) if text else (EPOCHS, HEAD_EPOCHS, SHARE)
    head = Stage("head", "head", usual_head if head_epochs is None else head_epochs, rate)
    everything = {"schedule": schedule, "layer_decay": layer_decay, **choices}
    if text:
        everything.setdefault("optimizer", text_optimizer(model, head=1.0))
    behind = Stage("all, by depth", None, usual if epochs is None else epochs, share * rate, **everything)
    return fit_stages(model, [head, behind], x, y, **settings)
