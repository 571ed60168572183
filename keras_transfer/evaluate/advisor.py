"""`advise`: a probe of about a minute on the training pictures, and which strategy it speaks for."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import fewshot, tuning  # noqa: F401  registers the strategies
from ..backbones import build_classifier
from ..core.numbers import number
from ..core.progress import on_terminal
from .advice import Advice
from .evidence import evidence, warnings
from .look import Look
from .pilot import STRATEGY, Model, pilot, seconds_of
from .probe import linear
from .thresholds import value
from .weighing import Figures, Guess, Verdict, decide

FOR_PILOT = 0.5  # of the time, at least
PILOT = ("strategy", "epochs", "folds", "pictures", "share", "took")


def advise(
    data: Any,
    *,
    backbone: str | keras.Model = "mobilenet_v2",
    weights: str | Path | None = "imagenet",
    augmentation: str = "light",
    seconds: float = 60.0,
    seed: int = 0,
    show: bool | None = None,
) -> Advice:
    """Which strategy suits these pictures and this backbone: a recommendation with its evidence, or "cannot tell".

    Training and validation pictures are pooled and dealt into five folds (twins together); nothing is judged on pictures
    that it was trained on, and the test split is not looked at but for whether its pictures resemble the others. On
    frozen features, computed once: the linear probe on 10, 30 and 100 % of the labels (Alain & Bengio 2016,
    arXiv:1610.01644), the nearest mean, a permutation test for signal (Ojala & Garriga 2010, JMLR 11), a two-sample test
    between the splits (Lopez-Paz & Oquab 2017, arXiv:1610.06545), label noise (Northcutt et al. 2021, arXiv:1911.00068),
    the same probe on an untrained network, H-score and LogME. Then fine-tuning is tried on as many folds as the time
    allows, and its gain, weighed against what other data sets showed at so many labels a class, decides. What is decided
    by which number, and where that comes from, stands in `evaluate.thresholds` and docs/choosing.md.

    Args:
        data: an `ImageData`, as `kt.load_images` gives it.
        backbone, weights, augmentation: as in `build_classifier`. The weights must be pretrained.
        seconds: how long the probe may take, about; the pilot gets what is left, half of it at least,
            and on a slow machine up to as much again.
        seed: of the folds and draws.
        show: print what is being done; None does so where a person watches.

    Raises `TypeError` for data that is no `ImageData`, and `ValueError` for `weights=None`.

    Example: `print(kt.advise(kt.load_images("photos/"), weights="mobilenet_v2.weights.h5"))`
    """
    if not hasattr(data, "image_size"):  # texts have none
        raise TypeError(
            f"`data` must be an ImageData; read a folder with kt.load_images. Received: {type(data).__name__}"
        )
    if weights is None and isinstance(backbone, str):
        raise ValueError("There is nothing to transfer without pretrained weights; name them. Received: weights=None")
    number("seconds", seconds, least=1.0)
    say = print if (on_terminal() if show is None else show) else _silent
    begun = time.perf_counter()
    shape = (*data.image_size, data.channels)
    keras.utils.set_random_seed(seed)
    model = Model(
        build_classifier(backbone, len(data.class_names), weights=weights, input_shape=shape, augmentation=augmentation)
    )
    look = Look(data, model, backbone, seconds, seed, augmentation != "none")
    say(f"Features of {len(look.source)} pictures ...")
    found = look.probe()
    left = max(seconds - (time.perf_counter() - begun), FOR_PILOT * seconds)
    say(f"A pilot of fine-tuning, at most {left:.0f} s ...")
    verdict = tune(look, found, left)
    found["took"] = time.perf_counter() - begun
    return _advice(data, look, found, verdict)


def tune(look: Look, found: dict[str, Any], seconds: float) -> Verdict:
    """Try fine-tuning where there is something to learn, and decide; what was measured goes into `found`."""
    counts = look.counts[look.counts > 0]
    found["pilot"] = found["tuned"] = None
    known = Figures(
        classes=len(counts),
        labels_a_class=len(look.splits[0]) / len(counts),
        smallest=int(look.counts.min()),
        signal=found["signal"]["p"],
        linear=found["linear"],
        nearest=found["nearest"],
        random=found["random"],
    )
    if known.smallest >= value("fewest") and known.signal <= value("signal"):
        found["pilot"] = pilot(
            look.model, look.source, look.table, len(look.splits[0]), look.speed, seconds, look.augmented
        )
    if found["pilot"] is not None:
        gain = (found["pilot"]["predicted"] == look.labels).astype(float) - _beside(look, found["pilot"])
        found["tuned"] = cut_short(look.guess(gain, found["pilot"]["predicted"] >= 0), found["pilot"]["share"])
    found["figures"] = replace(known, tuned=found["tuned"])
    return decide(found["figures"], STRATEGY)


def cut_short(gain: Guess, share: float) -> Guess:
    """The gain of a pilot that ran this share of the whole training's steps: less sure with every halving."""
    halvings = max(-math.log2(share), 0.0)
    return Guess(gain.mean, math.hypot(gain.deviation, value("halving") * halvings))


def _beside(look: Look, tried: dict[str, Any]) -> np.ndarray:
    """Which answers of the linear probe are right, (n,), trained on the very pictures that the pilot was trained on."""
    right, table = look.right.copy(), look.table
    for rows, (train, held) in zip(tried["trained"], table.parts(), strict=False):
        if len(rows) < len(train):
            answers = linear(table.x[rows], look.labels[rows], table.x[held], table.classes, look.l2)
            right[held] = answers.argmax(axis=1) == look.labels[held]
    return right


def _advice(data: Any, look: Look, found: dict[str, Any], verdict: Verdict) -> Advice:
    sizes = [len(split) for split in look.splits]
    times = seconds_of(sizes[0], sizes[1], look.speed, found["solve"], look.augmented)
    guess = verdict.expected
    low, high = (min(max(guess.mean + sign * 1.96 * guess.deviation, 0.0), 1.0) for sign in (-1, 1))
    figures = {
        "pictures": len(look.source),
        "classes": dict(zip(data.class_names, look.counts.tolist(), strict=True)),
        "l2": look.l2,
        "speed": look.speed,
        **{key: found[key] for key in ("curve", "signal", "noise", "ranking", "shift")},
        **{key: _pair(found[key]) for key in ("linear", "nearest", "random", "tuned")},
        "gain": _pair(verdict.gain),
        "pilot": found["pilot"] and {key: found["pilot"][key] for key in PILOT},
    }
    return Advice(
        verdict.strategy,
        verdict.leaning,
        verdict.why,
        verdict.certainty,
        "balanced accuracy" if look.balanced else "accuracy",
        (guess.mean, low, high),
        times,
        evidence(look, found),
        warnings(look, found),
        found["took"],
        figures,
    )


def _pair(guess: Guess | None) -> dict[str, float] | None:
    return None if guess is None else vars(guess)


def _silent(text: str) -> None:
    pass
