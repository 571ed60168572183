"""What staging costs, on ants and bees with MobileNetV2 1.0 at 224, interleaved: the head's stage cached and not, and the whole
recipe beside the same three stages written as the Keras guide has them.

`python tests/benchmarks/staged_speed.py [head] [recipe]`. All read the pictures from memory; times hold building and tracing.
"""

import statistics
import sys
import time
from functools import partial

from cached_speed import WEIGHTS, guide
from harness import DATA, mean_spread, run_rows

EPOCHS, VIEWS = 20, 4


def head(data: object, seed: int, cache: bool) -> float:
    import keras_transfer as kt

    model = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS)
    settings = {"keep": "last", "seed": seed, "verbose": 0}
    history = kt.tuning.fit_stages(
        model, [kt.tuning.Stage("head", "head", EPOCHS)], data, views=VIEWS, cache=cache, **settings
    )
    return history.history["val_accuracy"][-1]


def ours(data: object, seed: int) -> float:
    import keras_transfer as kt

    model = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS)
    history = kt.fine_tune(model, data, keep="last", seed=seed, verbose=0)
    return history.history["val_accuracy"][-1]


def plain(data: object, seed: int) -> float:
    """The guide's stages: freeze, fit, unfreeze from a block on, compile anew at a lower rate, fit; BatchNorm kept frozen by hand."""
    import keras

    import keras_transfer as kt

    layers = keras.layers
    base, model = guide(layers.RandomFlip("horizontal"), layers.RandomRotation(0.05), layers.RandomZoom(0.1))
    ours = kt.build_classifier("mobilenet_v2", 2, weights=WEIGHTS)
    top = {layer.name for _, layer in kt.select(ours, kt.tuning.recipe(ours)[1].where)}
    for rate, unfrozen in ((1e-3, set()), (1e-4, top), (1e-5, None)):
        base.trainable = True
        for layer in base.layers:
            norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = not norm and (unfrozen is None or layer.name in unfrozen)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        history = model.fit(data.train, validation_data=data.validation, epochs=10, verbose=0)
    return history.history["val_accuracy"][-1]


def side_by_side(loops: dict[str, object], seed: int) -> dict[str, float]:
    import keras

    import keras_transfer as kt
    from keras_transfer.core import activations

    data = kt.load_images(DATA / "hymenoptera", image_size=224, seed=seed)
    figures = {}
    for name in loops if seed % 2 else reversed(loops):
        activations.forget()
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        figures[f"{name}_accuracy"] = loops[name](data, seed)
        figures[f"{name}_seconds"] = round(time.perf_counter() - start, 2)
    fast, slow = (figures[f"{name}_seconds"] for name in loops)
    return {**figures, "ratio": round(slow / fast, 2)}


QUESTIONS = {
    "head": {"cached": partial(head, cache=True), "uncached": partial(head, cache=False)},
    "recipe": {"ours": ours, "plain": plain},
}

if __name__ == "__main__":
    for question in sys.argv[1:] or QUESTIONS:
        loops = QUESTIONS[question]
        keys = {f"{question}, run {seed}": partial(side_by_side, loops, seed) for seed in range(3)}
        rows = list(run_rows("staged_speed", keys).values())
        ratios = [row["ratio"] for row in rows]
        print(f"{question}: {' / '.join(reversed(loops))}: median {statistics.median(ratios)} of {ratios}")
        for name in loops:
            print(f"{name}: accuracy {mean_spread([row[f'{name}_accuracy'] for row in rows])}", flush=True)
    print(f"the head's stage is to be at least {0.6 * EPOCHS / VIEWS} times faster")
