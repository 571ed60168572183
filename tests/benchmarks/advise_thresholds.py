"""Where the measured numbers of `advise` come from (`evaluate/thresholds.py`): five sets that its benchmark does not hold.

`python tests/benchmarks/advise_thresholds.py [nearest tuned]`. Ants and bees, MNIST-M, USPS, one Omniglot alphabet, and spoken
digits as spectrograms (who speaks), at so many labels a class; MobileNet 0.25 at 128 pixels; other pictures of the set judge.
`nearest`: nearest mean against linear probe on frozen features, three draws. `tuned`: fine-tuning against linear probe, one
draw, every default.
"""

import sys
from collections.abc import Callable
from functools import cache, partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenet_0.25_128.weights.h5"
BACKBONE, SIZE, JUDGED = "mobilenet_0.25", 128, 600
NEAREST = (2, 5, 10, 20, 50)
TUNED = (("usps", 20), ("mnistm", 100), ("ants_bees", 50), ("speakers", 50), ("usps", 50), ("mnistm", 20))
TUNED += (("ants_bees", 10), ("speakers", 10), ("usps", 5), ("omniglot", 10))
STRATEGIES = ("linear_probe", "nearest_mean", "layerwise", "progressive", "full")


def ants_bees() -> tuple[object, object]:
    import numpy as np

    import keras_transfer as kt

    data = kt.load_images(DATA / "hymenoptera", image_size=SIZE)
    parts = [split.gather(np.arange(len(split))) for split in data.splits.values()]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def digits(name: str) -> tuple[object, object]:
    import numpy as np

    stored = np.load(DATA / "digits" / f"{name}.npz")
    x = stored["x_train"][:6000]
    return x if x.ndim == 4 else np.repeat(x[..., None], 3, axis=-1), stored["y_train"][:6000].astype(int)


def omniglot() -> tuple[object, object]:
    """The first alphabet: 20 characters, 20 drawers."""
    import numpy as np

    stored = np.load(DATA / "omniglot" / "omniglot28.npz")
    first = [row for row, name in enumerate(stored["names"]) if name.split("/")[0] == stored["names"][0].split("/")[0]]
    packed = stored["packed"][first]
    x = (np.stack([packed >> 4, packed & 15], -1).reshape(-1, 28, 28) * 17).astype("uint8")
    return np.repeat(x[..., None], 3, axis=-1), np.repeat(np.arange(len(first)), 20)


def speakers() -> tuple[object, object]:
    """Spoken digits as grey spectrograms; six speakers."""
    import numpy as np

    from keras_transfer.data.resize import resize

    stored = np.load(DATA / "audio" / "fsdd.npz")
    pictures = []
    for start, end in zip(stored["offsets"][:-1], stored["offsets"][1:], strict=True):
        wave = np.pad(stored["samples"][start:end].astype(float), (0, max(0, 320 - (end - start))))
        frames = np.lib.stride_tricks.sliding_window_view(wave, 256)[::64] * np.hanning(256)
        power = np.log(1e-3 + np.abs(np.fft.rfft(frames))).T[::-1]
        grey = 255 * (power - power.min()) / (np.ptp(power) + 1e-9)
        pictures.append(resize(np.repeat(grey[..., None], 3, -1).astype("uint8"), (SIZE, SIZE), "squash"))
    return np.stack(pictures), stored["speaker"].astype(int)


SETS: dict[str, Callable[[], tuple[object, object]]] = {
    "ants_bees": ants_bees,
    "mnistm": partial(digits, "mnistm"),
    "usps": partial(digits, "usps"),
    "omniglot": omniglot,
    "speakers": speakers,
}
read = cache(lambda name: SETS[name]())


def drawn(name: str, labels: int, seed: int) -> tuple[object, object, object, object]:
    """So many labels a class, and others to judge by, up to 600, the same number of each class."""
    import numpy as np

    x, y = read(name)
    random = np.random.default_rng(seed)
    train, judge = [], []
    for label in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == label))
        train.append(rows[:labels])
        judge.append(rows[labels : labels + JUDGED // len(np.unique(y))])
    train, judge = np.concatenate(train), np.concatenate(judge)
    return x[train], y[train], x[judge], y[judge]


def nearest(name: str, labels: int) -> dict[str, object]:
    """Accuracy of nearest mean minus linear probe, of three draws."""
    import keras_transfer as kt
    from keras_transfer.core.features import features
    from keras_transfer.data.arrays import resized
    from keras_transfer.evaluate.probe import linear
    from keras_transfer.evaluate.probe import nearest as mean

    encoder = kt.build_encoder(BACKBONE, weights=WEIGHTS, input_shape=(SIZE, SIZE, 3))
    found = []
    for seed in range(3):
        x, y, other, wanted = drawn(name, labels, seed)
        a, b = (features(encoder, resized([part], (SIZE, SIZE), "squash"), show=False) for part in (x, other))
        right = [(answers == wanted).mean() for answers in (mean(a, y, b), linear(a, y, b, y.max() + 1).argmax(1))]
        found.append({"nearest_mean": float(right[0]), "linear_probe": float(right[1])})
    return {"draws": found, "gain": sum(one["nearest_mean"] - one["linear_probe"] for one in found) / 3}


def tuned(name: str, labels: int) -> dict[str, object]:
    """Accuracy of each strategy."""
    import keras
    import numpy as np

    import keras_transfer as kt
    from keras_transfer import fewshot, tuning  # noqa: F401  registers the strategies
    from keras_transfer.core.registry import get

    x, y, *test = drawn(name, labels, 0)
    data = kt.ImageData.from_arrays(x, y, test=test, image_size=SIZE, on_bad="skip")
    found = {}
    for strategy in STRATEGIES:
        keras.utils.set_random_seed(0)
        model = kt.build_classifier(BACKBONE, len(np.unique(y)), weights=WEIGHTS, input_shape=(SIZE, SIZE, 3))
        get("strategy", strategy)(model, data, verbose=0)
        found[strategy] = kt.evaluate(model, data).accuracy
    return {**found, "gain": found["layerwise"] - found["linear_probe"]}


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["nearest", "tuned"]
    made: dict[str, dict[str, Callable[[], dict[str, object]]]] = {"nearest": {}, "tuned": {}}
    for labels in NEAREST:
        for name in SETS:
            if not (name == "omniglot" and labels > 10):
                made["nearest"][f"nearest, {name}, {labels} a class"] = partial(nearest, name, labels)
    for name, labels in TUNED:
        made["tuned"][f"tuned, {name}, {labels} a class"] = partial(tuned, name, labels)
    for kind in wanted:
        rows = run_rows("advise_thresholds", made[kind])
        for labels in sorted({int(key.split()[-3]) for key in rows}):
            gains = [row["gain"] for key, row in rows.items() if key.endswith(f", {labels} a class")]
            print(f"{kind}, {labels} a class: {mean_spread(gains)} against the linear probe ({len(gains)} sets)")
