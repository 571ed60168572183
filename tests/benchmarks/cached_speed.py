"""Ten head epochs without augmentation, ours (the frozen part runs once) beside the plain Keras loop, interleaved.

`python tests/benchmarks/cached_speed.py`. MobileNetV2 1.0 at 224 on ants and bees; both read the pictures from
memory, so that decoding counts for neither, and both times hold building, compiling and tracing.
"""

import statistics
import time
from functools import partial

from harness import DATA, mean_spread, run_rows

WEIGHTS = DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5"
EPOCHS = 10


def ours(data: object, seed: int) -> float:
    import keras_transfer as kt

    model = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS, augmentation="none")
    history = kt.tuning.feature_extraction(model, data, epochs=EPOCHS, keep="last", patience=100, seed=seed, verbose=0)
    return history.history["val_accuracy"][-1]


def guide(*augmentation: object) -> tuple[object, object]:
    """The model of Keras' transfer-learning guide, with the preprocessing that it leaves to the reader; its frozen base first."""
    import keras

    base = keras.applications.MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=None)
    base.load_weights(WEIGHTS)
    base.trainable = False
    inputs = keras.Input((224, 224, 3))
    x = keras.Sequential(augmentation)(inputs) if augmentation else inputs
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dense(2)(keras.layers.Dropout(0.2)(x))
    return base, keras.Model(inputs, x)


def plain(data: object, seed: int) -> float:
    """Its loop, as it stands there."""
    import keras

    model = guide()[1]
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    history = model.fit(data.train, validation_data=data.validation, epochs=EPOCHS, verbose=0)
    return history.history["val_accuracy"][-1]


def side_by_side(seed: int) -> dict[str, float]:
    import keras

    import keras_transfer as kt
    from keras_transfer.core import activations

    data = kt.load_images(DATA / "hymenoptera", image_size=224, seed=seed)
    figures = {}
    for name, loop in (("ours", ours), ("plain", plain)) if seed % 2 else (("plain", plain), ("ours", ours)):
        activations.forget()  # nothing may be left from the run before
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        figures[f"{name}_accuracy"] = loop(data, seed)
        figures[f"{name}_seconds"] = round(time.perf_counter() - start, 2)
    return {**figures, "ratio": round(figures["plain_seconds"] / figures["ours_seconds"], 2)}


if __name__ == "__main__":
    rows = list(run_rows("cached_speed", {f"run {seed}": partial(side_by_side, seed) for seed in range(1, 6)}).values())
    print(f"plain / ours, median of {len(rows)}: {statistics.median(row['ratio'] for row in rows)}")
    for name in ("ours", "plain"):
        print(f"{name}: accuracy {mean_spread([row[f'{name}_accuracy'] for row in rows])}")
