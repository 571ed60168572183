"""3,000 CIFAR-10 pictures at 96 pixels, MobileNetV2 1.0: frozen, full, staged, staged with more, and from scratch.

`python tests/benchmarks/cifar.py [frozen full ...]`. The last epoch is kept everywhere and judged once on the 800 test
pictures, which choose nothing; the recipe's defaults come from fine_tuning_defaults.py (held out of train). `layerwise` is
the staged recipe with rates by depth and one-cycle; the mean of its last five epochs is its `swa_accuracy` (the average
is taken beside the training, so one training gives both).
"""

import sys
from functools import cache, partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5"
ROWS = ("frozen", "full", "staged", "layerwise", "scratch")
SCRATCH_EPOCHS, AVERAGED = 15, 5


@cache
def pictures() -> object:
    import numpy as np

    import keras_transfer as kt

    stored = np.load(DATA / "cifar10_small.npz")
    test = stored["x_test"], stored["y_test"]
    return kt.ImageData.from_arrays(stored["x_train"], stored["y_train"], validation=test, image_size=96, on_bad="skip")


def accuracy(model: object, split: str) -> float:
    import numpy as np

    x, y = pictures().splits[split].gather(np.arange(len(pictures().splits[split])))
    return float(np.mean(model.predict(x.astype("float32"), batch_size=100, verbose=0).argmax(-1) == y))


def layerwise(model: object, data: object, settings: dict[str, object]) -> dict[str, object]:
    """One training, judged before the average goes in and after."""
    import keras

    import keras_transfer as kt

    # The peak of a cycle may be higher than a rate that stays: three times (fine_tuning_defaults.py).
    stages = kt.tuning.recipe(model, schedule="one_cycle", layer_decay=0.9, learning_rate=3e-3)
    epochs = sum(stage.epochs for stage in stages)
    raw = {}

    def judge(logs: object = None) -> None:
        raw.update(accuracy=accuracy(model, "validation"), train_accuracy=accuracy(model, "train"))

    before = keras.callbacks.LambdaCallback(on_train_end=judge)
    averaging = kt.tuning.WeightAveraging(epochs - AVERAGED)
    kt.tuning.fit_stages(model, stages, data, callbacks=[before, averaging], **settings)
    averaged = {"swa_accuracy": accuracy(model, "validation"), "swa_train_accuracy": accuracy(model, "train")}
    return {**raw, **averaged, "epochs": epochs}


def fitted(row: str, seed: int) -> dict[str, object]:
    import keras

    import keras_transfer as kt
    from keras_transfer.core import activations

    activations.forget()
    keras.utils.set_random_seed(seed)
    model = kt.build_classifier(
        "mobilenet_v2", 10, weights=None if row == "scratch" else WEIGHTS, input_shape=(96, 96, 3)
    )
    settings = {"keep": "last", "seed": seed, "verbose": 0}
    data = pictures().splits["train"]
    if row == "layerwise":
        return layerwise(model, data, settings)
    if row == "frozen":
        history = kt.tuning.feature_extraction(model, data, epochs=20, **settings)
    elif row == "staged":
        history = kt.fine_tune(model, data, **settings)
    else:
        history = kt.tuning.full(model, data, epochs=SCRATCH_EPOCHS if row == "scratch" else 10, **settings)
    figures = {"accuracy": accuracy(model, "validation"), "train_accuracy": accuracy(model, "train")}
    return {**figures, "epochs": len(history.epoch)}


if __name__ == "__main__":
    for row in sys.argv[1:] or ROWS:
        rows = run_rows("cifar", {f"{row}, seed {seed}": partial(fitted, row, seed) for seed in range(3)})
        for name in [name for name in next(iter(rows.values())) if name.endswith("accuracy")]:
            print(f"{row}: {name} {mean_spread([one[name] for one in rows.values()])}", flush=True)
