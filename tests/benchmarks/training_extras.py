"""MixUp and CutMix on ants and bees; balanced class weights and the focal loss on 970 X-rays, nine of ten pneumonia.

`python tests/benchmarks/training_extras.py [mix imbalance]`. The head alone on MobileNet 0.25 with its ImageNet weights, 96
pixels, 20 epochs, the last kept and judged once, on the 153 validation photos and the official 624 test X-rays, which
choose nothing. Every row has the defaults of `feature_extraction` but for what its name says.
"""

import sys
from functools import cache, partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenet_0.25_128.weights.h5"
SIDE, SEEDS = 96, (0, 1, 2)
MIXES = {"none": {}, "mixup": {"mix": "mixup"}, "cutmix": {"mix": "cutmix"}}
BALANCES = {"plain": {}, "balanced": {"class_weight": "balanced"}, "focal": {"loss": "focal"}}
BALANCES |= {"balanced and focal": {"class_weight": "balanced", "loss": "focal"}}


@cache
def photos() -> tuple[object, ...]:
    import numpy as np

    import keras_transfer as kt

    splits = kt.load_images(DATA / "hymenoptera", image_size=SIDE).splits
    pairs = [splits[name].gather(np.arange(len(splits[name]))) for name in ("train", "validation")]
    return *pairs[0], *pairs[1]


@cache
def x_rays() -> tuple[object, ...]:
    import numpy as np

    stored = np.load(DATA / "medical" / "pneumoniamnist.npz")
    x, y = stored["train_images"], stored["train_labels"].ravel()
    chosen = np.concatenate([np.flatnonzero(y == label)[:count] for label, count in ((0, 97), (1, 873))])
    return resized(x[chosen]), y[chosen], resized(stored["test_images"]), stored["test_labels"].ravel()


def resized(pictures: object) -> object:
    """RGB at the side of the backbone."""
    import numpy as np
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(one).convert("RGB").resize((SIDE, SIDE))) for one in pictures])


def fitted(data: tuple[object, ...], settings: dict[str, object], seed: int) -> object:
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    classes = int(data[3].max()) + 1
    model = kt.build_classifier("mobilenet_0.25", classes, weights=WEIGHTS, input_shape=(SIDE, SIDE, 3))
    settings = {"keep": "last", "epochs": 20, "seed": seed, "verbose": 0, **settings}
    kt.tuning.feature_extraction(model, *data[:2], **settings)
    return model


def mixed(mix: str, seed: int) -> dict[str, float]:
    model = fitted(photos(), MIXES[mix], seed)
    judged = [model.evaluate(*pair, verbose=0) for pair in (photos()[:2], photos()[2:])]
    return {"accuracy": judged[1][1], "loss": judged[1][0], "train_accuracy": judged[0][1], "train_loss": judged[0][0]}


def imbalanced(balance: str, seed: int) -> dict[str, float]:
    model = fitted(x_rays(), BALANCES[balance], seed)
    _, _, x, y = x_rays()
    found = model.predict(x, verbose=0).argmax(-1)
    normal, ill = (float((found == y)[y == label].mean()) for label in (0, 1))
    return {"balanced_accuracy": (normal + ill) / 2, "specificity": normal, "sensitivity": ill}


if __name__ == "__main__":
    for part in sys.argv[1:] or ("imbalance", "mix"):
        for row in MIXES if part == "mix" else BALANCES:
            run = mixed if part == "mix" else imbalanced
            rows = run_rows("training_extras", {f"{row}, seed {seed}": partial(run, row, seed) for seed in SEEDS})
            for name in [name for name in next(iter(rows.values())) if name not in ("seconds", "cores", "versions")]:
                print(f"{row}: {name} {mean_spread([one[name] for one in rows.values()])}", flush=True)
