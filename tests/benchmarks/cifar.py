"""3,000 CIFAR-10 pictures at 96 pixels, MobileNetV2 1.0: frozen, full, staged, staged with more, and from scratch.

`python tests/benchmarks/cifar.py [frozen full ...]`. The last epoch is kept everywhere and judged once on the 800 test
pictures, which choose nothing; the recipe's defaults come from fine_tuning_defaults.py (held out of train).
"""

import sys
from functools import cache, partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5"
ROWS = ("frozen", "full", "staged", "layerwise", "swa", "scratch")
SCRATCH_EPOCHS = 20


@cache
def pictures() -> object:
    import numpy as np

    import keras_transfer as kt

    stored = np.load(DATA / "cifar10_small.npz")
    test = stored["x_test"], stored["y_test"]
    return kt.ImageData.from_arrays(stored["x_train"], stored["y_train"], validation=test, image_size=96, on_bad="skip")


def train(row: str, model: object, seed: int) -> object:
    import keras_transfer as kt

    settings = {"keep": "last", "seed": seed, "verbose": 0}
    data = pictures().splits["train"]
    if row == "frozen":
        return kt.tuning.feature_extraction(model, data, epochs=20, **settings)
    if row in ("full", "scratch"):
        return kt.tuning.full(model, data, epochs=SCRATCH_EPOCHS if row == "scratch" else 10, **settings)
    if row == "staged":
        return kt.fine_tune(model, data, **settings)
    # The peak of a cycle may be higher than a rate that stays: three times (fine_tuning_defaults.py).
    stages = kt.tuning.recipe(model, schedule="one_cycle", layer_decay=0.9, learning_rate=3e-3)
    if row == "layerwise":
        return kt.tuning.fit_stages(model, stages, data, **settings)
    start = sum(stage.epochs for stage in stages) - 5
    averaging = kt.tuning.WeightAveraging(start)
    return kt.tuning.fit_stages(model, stages, data, callbacks=[averaging], **settings)


def fitted(row: str, seed: int) -> dict[str, object]:
    import keras
    import numpy as np

    import keras_transfer as kt
    from keras_transfer.core import activations

    activations.forget()
    keras.utils.set_random_seed(seed)
    model = kt.build_classifier(
        "mobilenet_v2", 10, weights=None if row == "scratch" else WEIGHTS, input_shape=(96, 96, 3)
    )
    history = train(row, model, seed)
    figures = {}
    for name, split in (("accuracy", "validation"), ("train_accuracy", "train")):
        x, y = pictures().splits[split].gather(np.arange(len(pictures().splits[split])))
        figures[name] = float(np.mean(model.predict(x.astype("float32"), batch_size=100, verbose=0).argmax(-1) == y))
    return {**figures, "epochs": len(history.epoch)}


if __name__ == "__main__":
    for row in sys.argv[1:] or ROWS:
        rows = run_rows("cifar", {f"{row}, seed {seed}": partial(fitted, row, seed) for seed in range(3)})
        for name in ("accuracy", "train_accuracy"):
            print(f"{row}: {name} {mean_spread([one[name] for one in rows.values()])}", flush=True)
