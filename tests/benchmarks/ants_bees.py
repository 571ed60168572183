"""Ants and bees, the PyTorch tutorial's pictures: MobileNetV2 1.0 at 224, the head alone and the staged recipe, by default.

`python tests/benchmarks/ants_bees.py [head] [staged]`. Nothing was chosen on these pictures: the defaults come from
defaults.py and fine_tuning_defaults.py (CIFAR-10 and brain MRI). The last epoch is taken, not the best; for the staged
recipe also what its own rule gives: the epoch that is best on the validation pictures, so a little too good.
"""

import sys
from functools import partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5"


def head_only(seed: int, augmentation: str) -> dict[str, float]:
    import keras

    import keras_transfer as kt

    data = kt.load_images(DATA / "hymenoptera", image_size=224, seed=seed)
    keras.utils.set_random_seed(seed)
    model = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS, augmentation=augmentation)
    # patience above the epochs: nothing about the validation pictures steers the fit
    history = kt.tuning.feature_extraction(model, data, keep="last", patience=100, verbose=0)
    return {
        "accuracy": history.history["val_accuracy"][-1],
        "epochs": len(history.epoch),
        "loss": history.history["loss"][-1],
    }


def staged(seed: int, keep: str) -> dict[str, object]:
    import keras

    import keras_transfer as kt

    data = kt.load_images(DATA / "hymenoptera", image_size=224, seed=seed)
    keras.utils.set_random_seed(seed)
    model = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS)
    history = kt.fine_tune(model, data, keep=keep, verbose=0)
    curve = history.history["val_accuracy"]
    ends = [stage["first_epoch"] + stage["epochs"] - 1 for stage in history.stages]
    kept = curve[-1] if keep == "last" else curve[history.best_epoch]
    return {"accuracy": kept, "epochs": len(curve), "last of each stage": [curve[end] for end in ends]}


def show(title: str, keys: dict[str, partial]) -> None:
    rows = run_rows("ants_bees", keys)
    print(f"{title} {mean_spread([row['accuracy'] for row in rows.values()])} (validation, 153 pictures)")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["head", "staged"]
    for augmentation in ("light", "none") if "head" in wanted else ():
        keys = {f"head, {augmentation}, seed {seed}": partial(head_only, seed, augmentation) for seed in range(3)}
        show(f"head, {augmentation}: last epoch", keys)
    for keep in ("last", "best") if "staged" in wanted else ():
        show(
            f"staged: {keep} epoch", {f"staged, {keep}, seed {seed}": partial(staged, seed, keep) for seed in range(3)}
        )
