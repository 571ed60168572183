"""The defaults of `layerwise`, chosen on CIFAR-10 and brain MRI (a fifth held out of train), never on ants and bees.

`python tests/benchmarks/layerwise_defaults.py`. MobileNet 0.25, all epochs run, the best and the last epoch written down;
`share` is the peak of the second stage in the head's rate of 1e-3.
"""

import sys
from functools import partial

from defaults import pictures
from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenet_0.25_128.weights.h5"
VARIANTS = {  # share, decay
    "cifar": ((0.1, 1.0), (0.1, 0.9), (0.3, 0.9), (1.0, 0.9)),
    "mri": ((0.3, 0.9), (1.0, 0.9)),
}
SEEDS = 3


def fitted(name: str, share: float, decay: float, seed: int) -> dict[str, object]:
    import keras

    import keras_transfer as kt
    from keras_transfer.tuning import Stage

    data = pictures(name, seed)
    keras.utils.set_random_seed(seed)
    shape = (*data.image_size, 3)
    model = kt.build_classifier("mobilenet_0.25", len(data.class_names), weights=WEIGHTS, input_shape=shape)
    everything = Stage("all", None, 10, 1e-3 * share, schedule="one_cycle", layer_decay=decay)
    stages = [Stage("head", "head", 10, 1e-3), everything]
    history = kt.tuning.fit_stages(model, stages, data, keep="last", seed=seed, verbose=0)
    curve = history.history["val_accuracy"]
    return {"best": max(curve), "last": curve[-1], "head": curve[9], "loss": history.history["val_loss"][-1]}


if __name__ == "__main__":
    for name in sys.argv[1:] or VARIANTS:
        for share, decay in VARIANTS[name]:
            keys = {
                f"{name}, share {share}, decay {decay}, seed {seed}": partial(fitted, name, share, decay, seed)
                for seed in range(SEEDS)
            }
            rows = list(run_rows("layerwise_defaults", keys).values())
            told = ", ".join(f"{key} {mean_spread([row[key] for row in rows])}" for key in ("head", "last", "best"))
            print(f"{name}, share {share}, decay {decay}: {told}", flush=True)
