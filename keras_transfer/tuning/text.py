"""How text encoders are fine-tuned: AdamW at a low rate with a warm-up, the new head at a high one, no decay where none belongs."""

from collections.abc import Callable
from typing import Any

import keras

from ..backbones.text_inputs import text_inputs
from ..core.numbers import number
from ..core.rates import layerwise, no_decay
from ..core.selection import Where, find
from .stage import Rate, Stage

EPOCHS = HEAD_EPOCHS = 3
RATE = 2e-5
HEAD = 50.0  # times the encoder's rate: 1e-3
SCRATCH_RATE, SCRATCH_EPOCHS = 5e-4, 20
WEIGHT_DECAY, CLIP_NORM = 0.01, 1.0


def reads_text(model: keras.Model) -> bool:
    """Whether a model takes the token ids of texts, as kt.build_text_classifier makes it."""
    return text_inputs(model) is not None


def text_optimizer(
    model: keras.Model,
    *,
    head: float = HEAD,
    weight_decay: float = WEIGHT_DECAY,
    clip_norm: float | None = CLIP_NORM,
) -> Callable[[Any], keras.optimizers.Optimizer]:
    """What makes the optimizer of a `Stage` from a rate: AdamW, the head at `head` times the rate.

    Devlin et al. 2019, BERT (arXiv:1810.04805), A.3; Loshchilov & Hutter 2019 (arXiv:1711.05101): with rate eta and
    decay lambda, `theta <- theta - eta * (m / (sqrt(v) + eps) + lambda * theta)`, lambda = 0 for biases and
    normalisations, the gradient of all weights scaled to norm `clip_norm` where it is longer (None: never).

    Example: `kt.tuning.Stage("all", None, 3, 2e-5, "warmup_linear", optimizer=kt.tuning.text_optimizer(model))`
    """
    head, weight_decay = number("head", head, above=0.0), number("weight_decay", weight_decay, least=0.0)
    clip_norm = None if clip_norm is None else number("clip_norm", clip_norm, above=0.0)

    def make(rate: Any) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
        optimizer = layerwise(optimizer, model, {tuple(find("head", model)): head}) if head != 1.0 else optimizer
        return no_decay(optimizer, model) if weight_decay else optimizer

    make.__qualname__ = f"AdamW(weight_decay={weight_decay:g}, clip_norm={clip_norm}, head={head:g})"
    return make


def text_stage(
    model: keras.Model,
    where: Where = None,
    *,
    epochs: int | None = None,
    learning_rate: Rate | None = None,
    name: str = "all",
    schedule: str | None = None,
    **choices: Any,
) -> Stage:
    """A stage with the defaults for texts: 3 epochs, 2e-5 in the encoder and 1e-3 in the head, warm-up 10 %, then linear.

    Devlin et al. 2019, BERT (arXiv:1810.04805), A.3: rates of 5e-5 to 2e-5, 2 to 4 epochs, warm-up and linear decay;
    Mosbach et al. 2021 (arXiv:2006.04884): the warm-up keeps fine-tuning stable. learning_rate: the encoder's; the head
    has 1e-3, or the same where that is higher. A rate that is a schedule is taken as it is, and the head has 50 times it.
    choices: as of `Stage`; `optimizer` replaces AdamW.

    Example: `kt.tuning.fit_stages(model, [kt.tuning.text_stage(model, ["head", "top:2"])], data)`
    """
    rate = RATE if learning_rate is None else learning_rate
    constant = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    settings = {"schedule": schedule or ("constant" if constant else "warmup_linear"), **choices}
    head = HEAD if constant else max(1.0, HEAD * RATE / number("learning_rate", rate, above=0.0))
    settings.setdefault("optimizer", text_optimizer(model, head=head))
    return Stage(name, where, EPOCHS if epochs is None else epochs, rate, **settings)


def scratch_stage(model: keras.Model, where: Where, *, epochs: int | None, learning_rate: Rate | None) -> Stage:
    """A stage for an encoder without pretrained weights: one rate for all, 5e-4, and 20 epochs."""
    return text_stage(
        model, where, name="train", epochs=SCRATCH_EPOCHS if epochs is None else epochs,
        learning_rate=SCRATCH_RATE if learning_rate is None else learning_rate, optimizer=text_optimizer(model, head=1.0),
    )  # fmt: skip


def text_recipe(
    model: keras.Model,
    top: int,
    *,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    **choices: Any,
) -> list[Stage]:
    """The stages of `fine_tune` for a text model: the head, the last `top` blocks with it, everything.

    learning_rate: the head's, 1e-3; the encoder has a fiftieth of it. choices: of the stages behind the head.
    """
    rate = HEAD * RATE if learning_rate is None else learning_rate
    behind = {"epochs": epochs, "learning_rate": rate / HEAD, "optimizer": text_optimizer(model), **choices}
    return [
        Stage("head", "head", HEAD_EPOCHS if head_epochs is None else head_epochs, rate),
        text_stage(model, ["head", f"top:{top}"], name="top layers" if top > 1 else "last layer", **behind),
        text_stage(model, None, **behind),
    ]
