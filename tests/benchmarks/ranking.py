"""Do H-score and LogME put the backbones in the order of what they reach? The seven files, on three sets, as it is.

`python tests/benchmarks/ranking.py [cifar mri ants]`. CIFAR-10: 50 training pictures a class, 800 test pictures; brain
MRI and ants and bees: their own splits. Every file sees the pictures at its own size; scores and fits see the training
pictures alone, accuracies are those of the held-out ones. `head` is `feature_extraction` without augmentation, the last
of 30 epochs, three seeds. Then Kendall's tau-b of every score with both accuracies, over the seven files of a set.
"""

import sys
from functools import partial

from harness import DATA, run_rows

FILES = {
    "mobilenetv2_1.00_224.weights.h5": ("mobilenet_v2", 224),
    "mobilenetv2_0.35_224_notop.weights.h5": ("mobilenet_v2_0.35", 224),
    "mobilenet_0.25_224.weights.h5": ("mobilenet_0.25", 224),
    "mobilenet_0.25_128.weights.h5": ("mobilenet_0.25", 128),
    "mobilenet_0.50_160.weights.h5": ("mobilenet_0.5", 160),
    "mobilenet_0.75_192.weights.h5": ("mobilenet_0.75", 192),
    "mobilenet_1.00_224.weights.h5": ("mobilenet", 224),
}
SETS = ("cifar", "mri", "ants")
SCORES = ("log_me", "h_score", "h_score_shrunk", "nearest_mean", "linear_probe")
SEEDS = 3


def pictures(name: str, size: int) -> object:
    import numpy as np

    import keras_transfer as kt

    if name != "cifar":
        folder = DATA / ("hymenoptera" if name == "ants" else "medical/brain_mri")
        return kt.load_images(folder, image_size=size, on_bad="skip")
    stored = np.load(DATA / "cifar10_small.npz")
    chosen = np.concatenate([np.flatnonzero(stored["y_train"] == label)[:50] for label in range(10)])
    test = stored["x_test"], stored["y_test"]
    train = stored["x_train"][chosen], stored["y_train"][chosen]
    return kt.ImageData.from_arrays(*train, validation=test, image_size=size, on_bad="skip")


def scored(name: str, file: str) -> dict[str, object]:
    import keras

    import keras_transfer as kt
    from keras_transfer.core.activations import forget

    forget()
    backbone, size = FILES[file]
    data = pictures(name, size)

    def built(seed: int = 0) -> keras.Model:
        keras.utils.set_random_seed(seed)
        shape = (size, size, 3)
        weights = DATA / "backbones" / file
        return kt.build_classifier(
            backbone, len(data.class_names), weights=weights, input_shape=shape, augmentation="none"
        )

    model = built()
    row = kt.backbones.rank({file: model}, data).rows[0]
    figures = {key: row[key] for key in ("log_me", "h_score", "h_score_shrunk", "features")}
    for strategy in (kt.fewshot.nearest_mean, kt.tuning.linear_probe):
        history = strategy(model, data, verbose=0)
        figures[strategy.__name__] = history.history["val_accuracy"][0]
    head = []
    for seed in range(SEEDS):
        history = kt.tuning.feature_extraction(built(seed), data, epochs=30, views=1, keep="last", seed=seed, verbose=0)
        head.append(history.history["val_accuracy"][-1])
    return {**figures, "head": sum(head) / SEEDS, "head_seeds": head, "held_out": len(data.splits["validation"])}


def show(name: str, rows: dict[str, dict]) -> None:
    from scipy.stats import kendalltau

    table = list(rows.values())
    for file, row in sorted(rows.items(), key=lambda pair: -pair[1]["linear_probe"]):
        print(f"  {file:<44}" + "".join(f"{row[key]:9.3f}" for key in (*SCORES, "head")))
    for target in ("linear_probe", "head"):
        told = []
        for score in (one for one in SCORES if one != target):
            # with more features than pictures the plain H-score is classes - 1 for all, but for rounding
            columns = [[round(row[key], 6) for row in table] for key in (score, target)]
            tau = kendalltau(*columns).statistic
            told.append(f"{score} " + ("all equal" if len(set(columns[0])) == 1 else f"{tau:+.2f}"))
        print(f"{name}, tau with {target}: " + ", ".join(told))


if __name__ == "__main__":
    for name in sys.argv[1:] or SETS:
        keys = {f"{name}, {file}": partial(scored, name, file) for file in FILES}
        rows = {key.partition(", ")[2]: row for key, row in run_rows("ranking", keys).items()}
        show(name, rows)
