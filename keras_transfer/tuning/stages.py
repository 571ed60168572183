"""Staged training: stage after stage in one call; one history, the best epoch of all stages kept."""

import inspect
from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import Any

import keras

from ..core.fitting import fit
from ..core.messages import nearest
from ..core.mixing import as_mix
from ..core.numbers import count
from .running import run_stages
from .stage import Stage


def fit_stages(
    model: keras.Model,
    stages: Sequence[Stage],
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    keep: str = "best",
    patience: int = 5,
    loss: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> keras.callbacks.History:
    """Fit `model` in stages; what a stage leaves frozen runs once, and every stage starts from the best weights so far.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146): gradual unfreezing; Kumar et al. 2022 (arXiv:2202.10054): a random
    head spoils pretrained features, so it comes first. In stage i, with `theta_i` the weights named by its `where`:
    `min over theta_i of mean CE(model(x; theta), y)`, from the best `theta` of the stages before.

    x, y: `ImageData` (which brings its validation pictures), arrays, a `tf.data.Dataset` or `PyDataset` of pictures
    (B, h, w, C) in 0..255 and integer or one-hot labels. `settings` are those of `core.fitting.fit`: views=4,
    batch_size, seed, class_weight (a dict, or "balanced": n / (k n_c)), mix ("mixup" or "cutmix", see `core.mixing`) with
    mix_strength, metrics, verbose, cache, and whatever `fit` takes. loss="focal" is `FocalCrossentropy()`, None the
    cross-entropy; with `mix` a loss of your own gets labels as rows of shares. With validation data and
    `keep="best"` a stage ends `patience` epochs after the best epoch (highest validation accuracy, of equal ones the
    lowest loss); the best value is kept over all stages, its weights are put back. `keep="last"` runs every epoch and
    keeps the last. Callbacks see one training, epochs 0, 1, 2, ... over all stages, and the whole model; an
    `EarlyStopping` ends its stage. A loss that is no number raises `FloatingPointError`, Ctrl-C `KeyboardInterrupt`;
    both leave the best weights in the model and say so. `checkpoint` is a folder that holds after every epoch what
    `resume=True` goes on from: weights, optimizer, random states, stage, best value (not the state of your own
    callbacks, nor the order of data that shuffles itself). A `WeightAveraging` without data gets this one's.

    Returns the joined History: `stages`, a dict for each stage that ran with its `first_epoch`, and `best_epoch` from 0,
    None where the last is kept or a callback put other weights in at the end (averages, its own best). Afterwards the
    whole model is compiled and `evaluate` works.

    Example:
        stages = [Stage("head", "head", 5, 1e-3), Stage("all", None, 10, 1e-5)]
        history = kt.tuning.fit_stages(model, stages, data)
    """
    _check(stages, keep, patience, checkpoint, resume, settings)
    callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or ())
    return run_stages(
        model,
        list(stages),
        x,
        y,
        validation_data=validation_data,
        keep=keep,
        patience=patience,
        loss=loss,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
        **settings,
    )


OF_A_STAGE = tuple(field.name for field in fields(Stage))
OURS = ("before", "done", "planned", "on_ready", "watched_by", "initial_epoch", "validation_split", "x", "y", "self")


def _check(stages: Any, keep: str, patience: int, checkpoint: Any, resume: bool, settings: dict[str, Any]) -> None:
    if keep not in ("best", "last"):
        raise ValueError(f"`keep` must be 'best' or 'last'. Received: {keep!r}")
    if isinstance(patience, bool) or not isinstance(patience, Integral) or patience < 1:
        raise ValueError(f"`patience` must be at least 1 epoch, a whole number. Received: {patience!r}")
    if not isinstance(stages, (list, tuple)) or not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise ValueError(f"`stages` must be a list of at least one `Stage`. Received: {stages!r}")
    if resume and checkpoint is None:
        raise ValueError("`resume` needs the `checkpoint` folder to go on from. Received: checkpoint=None")
    if checkpoint is not None and Path(checkpoint).is_file():
        raise ValueError(f"`checkpoint` must be a folder. Received: the file {str(checkpoint)!r}")
    count("batch_size", settings.get("batch_size", 32))
    as_mix(settings.get("mix"), settings.get("mix_strength"))
    known = {*inspect.signature(fit).parameters, *inspect.signature(keras.Model.fit).parameters, "sample_weight"}
    known -= {"fit_kwargs", "model", *OF_A_STAGE, *OURS}
    for name in settings:
        if name in OF_A_STAGE:
            raise TypeError(
                f"`{name}` is said of each Stage: Stage(..., {name}=...). Received: {name}={settings[name]!r}"
            )
        if name not in known:
            raise TypeError(f"Unknown setting. {nearest(name, known)} Received: {name}={settings[name]!r}")
