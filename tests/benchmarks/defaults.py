"""The defaults of `fit`, chosen on CIFAR-10 and brain MRI (never on ants and bees): rate, augmentation, views, epochs.

`python tests/benchmarks/defaults.py`. CIFAR-10: 1,000 training pictures at 96 pixels, judged on a fifth held out of
them, not on the test pictures; brain MRI: its own train, a fifth of it held out. Two seeds; three for what is close.
"""

import itertools
import sys
from functools import cache, partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5"


@cache
def pictures(name: str, seed: int) -> object:
    import numpy as np

    import keras_transfer as kt

    if name == "mri":
        whole = kt.load_images(DATA / "medical" / "brain_mri", image_size=160, seed=seed).splits["train"]
        x, y = whole.gather(np.arange(len(whole)))
        return kt.ImageData.from_arrays(x, y, seed=seed, on_bad="skip")
    stored = np.load(DATA / "cifar10_small.npz")
    chosen = np.concatenate([np.flatnonzero(stored["y_train"] == label)[:100] for label in range(10)])
    return kt.ImageData.from_arrays(
        stored["x_train"][chosen], stored["y_train"][chosen], image_size=96, seed=seed, on_bad="skip"
    )


def fitted(name: str, strategy: str, seed: int, augmentation: str, **settings: object) -> dict[str, float]:
    import keras

    import keras_transfer as kt

    data = pictures(name, seed)
    keras.utils.set_random_seed(seed)
    shape = (*data.image_size, 3)
    model = kt.build_classifier(
        "mobilenet_v2", len(data.class_names), weights=WEIGHTS, input_shape=shape, augmentation=augmentation
    )
    history = getattr(kt.tuning, strategy)(model, data, seed=seed, verbose=0, **settings)
    curve = history.history["val_accuracy"]
    return {"best": max(curve), "last": curve[-1], "epochs": len(curve), "best_epoch": history.best_epoch + 1}


def show(title: str, rows: dict[str, dict]) -> None:
    best, last = ([row[key] for row in rows.values()] for key in ("best", "last"))
    print(
        f"{title}: best {mean_spread(best)}, last {mean_spread(last)}, seconds {sum(row['seconds'] for row in rows.values()):.0f}",
        flush=True,
    )


if __name__ == "__main__":
    head = itertools.product((1e-3, 3e-3), (("none", 1), ("light", 4), ("light", 8), ("medium", 4)))
    full = [(rate, (augmentation, 1)) for rate in (3e-5, 1e-4, 3e-4) for augmentation in ("none", "light")]
    for name in ("mri", "cifar"):
        for strategy, grid in (("feature_extraction", head), ("full", full)):
            if strategy not in (sys.argv[1:] or [strategy]):
                continue
            for rate, (augmentation, views) in list(grid):
                extra = {"learning_rate": rate, "epochs": 40 if strategy == "feature_extraction" else 12, "patience": 8}
                extra |= {"views": views} if strategy == "feature_extraction" else {}
                keys = {
                    f"{name}, {strategy}, rate {rate}, {augmentation}, {views} views, seed {seed}": partial(
                        fitted, name, strategy, seed, augmentation, **extra
                    )
                    for seed in range(2)
                }
                show(next(iter(keys)).rpartition(",")[0], run_rows("defaults", keys))
        head = itertools.product((1e-3, 3e-3), (("none", 1), ("light", 4), ("light", 8), ("medium", 4)))
