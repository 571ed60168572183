"""`kt.compare` on three sets: ants and bees, a CIFAR-10 subset, brain MRI; and what it costs beside the rows one by one.

`python tests/benchmarks/compare.py [ants_bees cifar mri] [cost]`. MobileNetV2 0.35, two seeds, every default. None of the
sets has a test split, so the validation pictures judge and choose nothing: the last epoch is kept. Each finished row stands
in `results/compare_<set>/comparison.json`, and a second start goes on behind it. `cost` runs four rows of ants and bees with
shared frozen features and, interleaved, each with its own.
"""

import statistics
import sys
import time
from collections.abc import Callable

from harness import DATA, RESULTS, run_rows

BACKBONE = "mobilenet_v2_0.35"
WEIGHTS = DATA / "backbones" / "mobilenetv2_0.35_224_notop.weights.h5"
SHARING = ["nearest_mean", "linear_probe", "feature_extraction", "partial"]


def ants_bees() -> object:
    import keras_transfer as kt

    return kt.load_images(DATA / "hymenoptera", image_size=160)


def cifar() -> object:
    """100 pictures a class to train on, the 800 test pictures of the set to judge."""
    import numpy as np

    import keras_transfer as kt

    stored = np.load(DATA / "cifar10_small.npz")
    chosen = np.concatenate([np.flatnonzero(stored["y_train"] == label)[:100] for label in range(10)])
    x, y, test = stored["x_train"][chosen], stored["y_train"][chosen], (stored["x_test"], stored["y_test"])
    return kt.ImageData.from_arrays(x, y, validation=test, image_size=96, on_bad="skip")


def mri() -> object:
    import keras_transfer as kt

    return kt.load_images(DATA / "medical" / "brain_mri", image_size=160)


SETS: dict[str, Callable[[], object]] = {"ants_bees": ants_bees, "cifar": cifar, "mri": mri}


def table(name: str) -> None:
    import keras_transfer as kt

    folder = RESULTS / f"compare_{name}"
    print(
        kt.compare(SETS[name](), backbone=BACKBONE, weights=WEIGHTS, output=folder, title=name, seeds=2, show=True),
        flush=True,
    )


def cost(run: int) -> dict[str, object]:
    """Seconds of four rows in one comparison, and of the same rows each alone; which comes first alternates."""
    import keras_transfer as kt
    from keras_transfer.core.activations import forget

    data, settings = ants_bees(), {"backbone": BACKBONE, "weights": WEIGHTS, "seeds": 1, "export": False}

    def together() -> float:
        forget()
        started = time.perf_counter()
        kt.compare(data, strategies=SHARING, **settings)
        return time.perf_counter() - started

    def one_by_one() -> float:
        started = time.perf_counter()
        for name in SHARING:
            forget()
            kt.compare(data, strategies=[name], **settings)
        return time.perf_counter() - started

    first, second = (together, one_by_one) if run % 2 else (one_by_one, together)
    took = {first.__name__: first()} | {second.__name__: second()}
    return {**took, "ratio": took["one_by_one"] / took["together"]}


if __name__ == "__main__":
    wanted = sys.argv[1:] or [*SETS, "cost"]
    for name in SETS:
        if name in wanted:
            table(name)
    if "cost" in wanted:
        from functools import partial

        rows = run_rows("compare_cost", {f"run {run}": partial(cost, run) for run in range(3)})
        ratios = [row["ratio"] for row in rows.values()]
        print(f"one by one / together: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
