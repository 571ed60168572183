"""Ants and bees, the PyTorch tutorial's pictures: MobileNetV2 1.0 at 224, the head alone, the defaults, the last epoch.

`python tests/benchmarks/ants_bees.py`. Nothing was chosen on these pictures: the defaults come from defaults.py
(CIFAR-10 and brain MRI), and the last epoch is taken, not the best.
"""

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


if __name__ == "__main__":
    for augmentation in ("light", "none"):
        keys = {f"head, {augmentation}, seed {seed}": partial(head_only, seed, augmentation) for seed in range(3)}
        rows = run_rows("ants_bees", keys)
        print(
            f"{augmentation}: last epoch {mean_spread([row['accuracy'] for row in rows.values()])} (validation, 153 pictures)"
        )
