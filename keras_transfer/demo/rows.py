"""The demo's rows: what ten labels a digit give without transfer and with it, each tuned, none augmented.

The recipes were chosen on the 497 validation digits with seeds from 100 on; the demo shows seeds 0, 1 and 2 on the 900
test digits, which chose nothing. Augmentation is another way to have more than ten pictures, and helps from-scratch most:
`augmented=True` adds it, at up to twice the time. `show.AUGMENTED` has the figures, and the demo prints them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..backbones import build_classifier
from ..backbones.augmentation import Augmentation
from ..data import ImageData
from ..tuning import feature_extraction, fit_stages, full, recipe
from .backbone import WEIGHTS, glyph_backbone

IMAGE_SIZE = 32
HEAD: dict[str, Any] = {"epochs": 60, "learning_rate": 1e-2}
EVERYTHING: dict[str, Any] = {"epochs": 30, "learning_rate": 3e-4}
STAGES: tuple[dict[str, Any], ...] = (
    HEAD,
    {"epochs": 10, "learning_rate": 1e-3},
    {"epochs": 10, "learning_rate": 1e-4},
)


@dataclass(frozen=True)
class Row:
    """What one method reached with one seed: accuracy on held-out digits and on its own training digits, seconds to fit."""

    row: str
    accuracy: float
    train_accuracy: float
    seconds: float
    model: Any = None
    history: Any = None


def pixel_svm(data: ImageData, seed: int, split: str = "test") -> Row:
    """A support vector machine with an RBF kernel on the pixels: no deep learning, no transfer. It has no randomness."""
    from sklearn.svm import SVC

    (x, y), (held_x, held_y) = (
        (x.reshape(len(x), -1) / 255, y) for x, y in (arrays(data, "train"), arrays(data, split))
    )
    started = time.perf_counter()
    machine = SVC(C=10.0, gamma="scale").fit(x, y)
    seconds = time.perf_counter() - started
    return Row("pixel SVM", float(machine.score(held_x, held_y)), float(machine.score(x, y)), seconds)


def from_scratch(data: ImageData, seed: int, split: str = "test", augmented: bool = False) -> Row:
    """The same network from random weights, all of it trained: 600 steps of ten pictures (augmented: 1,000)."""
    model, x, y = _model_and_data(data, seed, None, augmented)
    started = time.perf_counter()
    epochs = 100 if augmented else 60
    history = _train(full, model, x, y, seed, epochs=epochs, learning_rate=5e-3, batch_size=10)
    return _judge("from scratch", model, data, split, time.perf_counter() - started, history)


def frozen_features(data: ImageData, seed: int, split: str = "test") -> Row:
    """A new head on the features of the glyph backbone, which stays as it is and runs once."""
    model, x, y = _model_and_data(data, seed, WEIGHTS)
    started = time.perf_counter()
    history = _train(feature_extraction, model, x, y, seed, **HEAD)
    return _judge("frozen features", model, data, split, time.perf_counter() - started, history)


def full_fine_tuning(
    data: ImageData, seed: int, split: str = "test", augmented: bool = False, watch: bool = False
) -> Row:
    """The head as in frozen features, then every layer at a lower rate: a random head would spoil the features first.

    Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features (arXiv:2202.10054). `watch` judges each epoch on the
    validation digits too, for the curves of the report.
    """
    model, x, y = _model_and_data(data, seed, WEIGHTS, augmented)
    started = time.perf_counter()
    _train(feature_extraction, model, x, y, seed, **HEAD)
    stage = {**EVERYTHING, "epochs": 2 * EVERYTHING["epochs"]} if augmented else EVERYTHING
    history = _train(full, model, x, y, seed, **stage, validation_data=data if watch else None)
    return _judge("full fine-tuning", model, data, split, time.perf_counter() - started, history)


def staged_fine_tuning(data: ImageData, seed: int, split: str = "test") -> Row:
    """The head as in frozen features, then with it the top third of the blocks, then everything, each at a lower rate.

    Howard & Ruder 2018, ULMFiT (arXiv:1801.06146): gradual unfreezing. The stages of `tuning.recipe`, with epochs and
    rates for these digits; what a stage leaves frozen runs once.
    """
    model, x, y = _model_and_data(data, seed, WEIGHTS)
    started = time.perf_counter()
    stages = [replace(stage, schedule="cosine", **own) for stage, own in zip(recipe(model), STAGES, strict=True)]
    history = fit_stages(model, stages, x, y, keep="last", seed=seed, verbose=0)
    return _judge("staged fine-tuning", model, data, split, time.perf_counter() - started, history)


ROWS: dict[str, Callable[..., Row]] = {
    "pixel SVM": pixel_svm,
    "from scratch": from_scratch,
    "frozen features": frozen_features,
    "full fine-tuning": full_fine_tuning,
    "staged fine-tuning": staged_fine_tuning,
}


def arrays(data: ImageData, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a split, uint8 (n, 32, 32, 1), and their labels (n,)."""
    pictures = data.splits[split]
    return pictures.gather(np.arange(len(pictures)))


def shifts_turns_and_zooms(seed: int) -> Augmentation:
    """Augmentation for digits, which must not be mirrored: up to 8 % of the side, 18 degrees and 12 %, on black."""
    settings: dict[str, Any] = {"fill_mode": "constant", "seed": seed}
    return Augmentation(
        [
            keras.layers.RandomTranslation(0.08, 0.08, **settings),
            keras.layers.RandomRotation(0.05, **settings),
            keras.layers.RandomZoom(0.12, 0.12, **settings),
        ],
        name="augmentation",
    )


def _model_and_data(
    data: ImageData, seed: int, weights: Path | None, augmented: bool = False
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    keras.utils.set_random_seed(seed)
    model = build_classifier(
        glyph_backbone(weights),
        len(data.class_names),
        weights="imagenet" if weights else None,  # of a model that one brings: pretrained as it comes, or not
        augmentation=shifts_turns_and_zooms(seed) if augmented else "none",
        preprocessing="unit",
    )
    return model, *arrays(data, "train")


def _train(
    strategy: Callable[..., keras.callbacks.History],
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 32,
    validation_data: ImageData | None = None,
) -> keras.callbacks.History:
    """As a user would; the rate falls to zero along a cosine, and the last epoch is kept: none is chosen."""
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(x) // batch_size))
    return strategy(
        model,
        x,
        y,
        validation_data=validation_data,
        epochs=epochs,
        learning_rate=rate,
        batch_size=batch_size,
        keep="last",
        patience=epochs,
        seed=seed,
        verbose=0,
    )


def _judge(row: str, model: keras.Model, data: ImageData, split: str, seconds: float, history: Any) -> Row:
    held_out, train = (_accuracy(model, *arrays(data, name)) for name in (split, "train"))
    return Row(row, held_out, train, seconds, model, history)


def _accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """One eager call: tracing a function for so few pictures would take longer."""
    logits = keras.ops.convert_to_numpy(model(x.astype("float32"), training=False))
    return float(np.mean(logits.argmax(-1) == y))
