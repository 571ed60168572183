"""The defaults of `fine_tune`, chosen on brain MRI and CIFAR-10 (held out of train), never on ants and bees.

`python tests/benchmarks/fine_tuning_defaults.py [mri] [cifar]`. A fifth of the training pictures is held out; each row
is one variant of the recipe and one seed, all epochs run, and both the best and the last epoch are written down.
"""

import sys
from dataclasses import replace
from functools import partial

from defaults import WEIGHTS, pictures
from harness import mean_spread, run_rows

VARIANTS = {
    "constant": {},
    "one_cycle": {"schedule": "one_cycle"},
    "constant, three times the rates": {"factor": 3.0},
    "one_cycle, three times the rates": {"schedule": "one_cycle", "factor": 3.0},
    "BatchNorm reestimate": {"batch_norm": "reestimate"},
}


def fitted(name: str, variant: str, seed: int) -> dict[str, object]:
    import keras

    import keras_transfer as kt

    data = pictures(name, seed)
    keras.utils.set_random_seed(seed)
    shape = (*data.image_size, 3)
    model = kt.build_classifier("mobilenet_v2", len(data.class_names), weights=WEIGHTS, input_shape=shape)
    choices = dict(VARIANTS[variant])
    factor = choices.pop("factor", 1.0)
    head, *rest = kt.tuning.recipe(model, **choices)
    stages = [head, *(replace(stage, learning_rate=stage.learning_rate * factor) for stage in rest)]
    history = kt.tuning.fit_stages(model, stages, data, keep="last", seed=seed, verbose=0)
    curve = history.history["val_accuracy"]
    ends = [stage["first_epoch"] + stage["epochs"] - 1 for stage in history.stages]
    return {"best": max(curve), "last of each stage": [curve[end] for end in ends], "loss": history.history["loss"][-1]}


if __name__ == "__main__":
    for name, seeds in (("cifar", 2), ("mri", 3)):
        for variant in VARIANTS if name in (sys.argv[1:] or [name]) else ():
            keys = {f"{name}, {variant}, seed {seed}": partial(fitted, name, variant, seed) for seed in range(seeds)}
            rows = list(run_rows("fine_tuning_defaults", keys).values())
            ends = zip(*(row["last of each stage"] for row in rows), strict=True)
            shown = ", ".join(mean_spread(list(values)) for values in ends)
            print(f"{name}, {variant}: best {mean_spread([row['best'] for row in rows])}; stages {shown}", flush=True)
