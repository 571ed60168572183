"""`kt.advise` on six situations that it was not tuned on: does it agree with the best row of `kt.compare`?

`python tests/benchmarks/advise.py [tiny medium ...]`. MobileNet 0.25 at 128 pixels for all six; `advise` sees training
pictures only (a fifth of them held out inside), test pictures judge. It agrees where the test accuracy of the strategy that it
recommends is within max(1 point, 2 standard errors of the difference) of the best row, or where it says that it cannot
tell. Each finished row of a comparison stands in `results/advise_<situation>/comparison.json`, and a second start goes on
behind it; `results/advise.json` holds the advice and the verdicts.
"""

import sys
from collections.abc import Callable
from functools import cache, partial

from harness import DATA, RESULTS, run_rows

WEIGHTS = DATA / "backbones" / "mobilenet_0.25_128.weights.h5"
BACKBONE, SIZE, SEEDS = "mobilenet_0.25", 128, 2
Split = tuple[object, object, object, object]


def cifar(per_class: int | None, labels: tuple[int, ...] = tuple(range(10))) -> Split:
    """So many training pictures of each of these classes, and all their test pictures; labels from 0."""
    import numpy as np

    stored = np.load(DATA / "cifar10_small.npz")
    parts = []
    for split, most in (("train", per_class), ("test", None)):
        x, y = stored[f"x_{split}"], stored[f"y_{split}"].astype(int)
        rows = np.concatenate([np.flatnonzero(y == label)[:most] for label in labels])
        parts += [x[rows], np.searchsorted(labels, y[rows])]
    return tuple(parts)


def tiny() -> Split:
    return cifar(5)


def medium() -> Split:
    return cifar(100)


def imbalanced() -> Split:
    """24 normal and 216 pneumonia X-rays; a balanced test of 200."""
    import numpy as np

    stored = np.load(DATA / "medical" / "pneumoniamnist.npz")

    def some(split: str, counts: tuple[int, int]) -> tuple[object, object]:
        y = stored[f"{split}_labels"].reshape(-1).astype(int)
        rows = np.concatenate([np.flatnonzero(y == label)[:count] for label, count in enumerate(counts)])
        return np.repeat(stored[f"{split}_images"][rows][..., None], 3, axis=-1), y[rows]

    return *some("train", (24, 216)), *some("test", (100, 100))


def far_domain() -> Split:
    """Brain MRI; its own validation folder judges."""
    import numpy as np

    import keras_transfer as kt

    data = kt.load_images(DATA / "medical" / "brain_mri", image_size=SIZE)
    splits = [data.splits[name] for name in ("train", "validation")]
    return tuple(part for split in splits for part in split.gather(np.arange(len(split))))


def noisy() -> Split:
    """Cat, deer and truck, 60 a class, 30 % of the training labels replaced at random; the test labels are right."""
    import numpy as np

    x, y, test_x, test_y = cifar(60, (3, 4, 9))
    random = np.random.default_rng(0)
    replaced = random.permutation(len(y))[: round(0.3 * len(y))]
    y[replaced] = random.integers(0, 3, len(replaced))
    return x, y, test_x, test_y


def no_signal() -> Split:
    """200 pictures with labels drawn at random over four classes, the test pictures likewise."""
    import numpy as np

    x, _, test_x, _ = cifar(20)
    random = np.random.default_rng(0)
    return x, random.integers(0, 4, len(x)), test_x, random.integers(0, 4, len(test_x))


SITUATIONS: dict[str, Callable[[], Split]] = {
    one.__name__: one for one in (tiny, medium, imbalanced, far_domain, noisy, no_signal)
}


@cache
def pictures(name: str, with_test: bool) -> object:
    import keras_transfer as kt

    x, y, test_x, test_y = SITUATIONS[name]()
    judged = {"test": (test_x, test_y)} if with_test else {}
    return kt.ImageData.from_arrays(x, y, image_size=SIZE, on_bad="skip", **judged)


def verdict(name: str) -> dict[str, object]:
    import keras_transfer as kt
    from keras_transfer.evaluate.comparison import ranked, standard_error

    advice = kt.evaluate.advise(pictures(name, False), backbone=BACKBONE, weights=WEIGHTS, show=True)
    print(f"{name}\n{advice}", flush=True)
    compared = kt.compare(
        pictures(name, True),
        backbone=BACKBONE,
        weights=WEIGHTS,
        seeds=SEEDS,
        export=False,
        output=RESULTS / f"advise_{name}",
        title=name,
        show=True,
    )
    print(compared, flush=True)
    rows = {row["strategy"]: row for row in ranked(compared.rows)}
    best, taken = compared.best, rows[advice.leaning]
    behind = best["accuracy"] - taken["accuracy"]
    tolerance = max(0.01, 2 * standard_error(best, taken))
    return {
        "recommended": advice.strategy,
        "leaning": advice.leaning,
        "best": best["strategy"],
        "best_accuracy": best["accuracy"],
        "accuracy": taken["accuracy"],
        "behind": behind,
        "tolerance": tolerance,
        "leaning_within": behind <= tolerance,
        "agrees": advice.cannot_tell or behind <= tolerance,
        "advice": advice.to_dict(),
    }


if __name__ == "__main__":
    rows = run_rows("advise", {name: partial(verdict, name) for name in sys.argv[1:] or SITUATIONS})
    for name, row in rows.items():
        told = row["recommended"] or f"cannot tell (leans to {row['leaning']})"
        print(f"{name}: {told}; best {row['best']}, {row['behind']:.3f} behind, tolerance {row['tolerance']:.3f}")
    agreed = [row for row in rows.values() if row["agrees"]]
    told = [row for row in rows.values() if row["recommended"]]
    print(f"agrees in {len(agreed)} of {len(rows)}; recommended something in {len(told)}")
