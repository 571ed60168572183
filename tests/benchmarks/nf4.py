"""NF4 beside float32: a kernel of 768 x 3072 on 2,048 tokens, dequantised and multiplied, interleaved medians; and its error.

`python tests/benchmarks/nf4.py [rounds]`. The bound: at most 1.25 of float32, at most 4.13 bits a weight. The error is
the root mean square of (dequantised - kernel) over that of the kernel, on a normal kernel and on MiniLM's own.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from harness import DATA, run_rows

SHAPE, TOKENS = (768, 3072), 2048


def speed(rounds: int) -> dict[str, float]:
    import numpy as np
    import tensorflow as tf

    from keras_transfer.peft.nf4 import bits_per_weight, pack, unpack

    random = np.random.default_rng(0)
    kernel, tokens = (random.normal(size=size).astype("float32") for size in (SHAPE, (TOKENS, SHAPE[0])))
    packed = [tf.Variable(part, trainable=False) for part in pack(kernel)]
    whole, x = tf.Variable(kernel), tf.constant(tokens)
    ways: dict[str, Callable[[], tf.Tensor]] = {
        "float32": tf.function(lambda: tf.matmul(x, whole)),
        "nf4": tf.function(lambda: tf.matmul(x, unpack(packed, SHAPE))),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 3):
        for name, way in ways.items():
            start = time.perf_counter()
            way().numpy()
            if turn >= 3:  # the first are traced and warmed
                times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(each) for name, each in times.items()}
    return {
        "rounds": rounds,
        **{f"{name}_ms": round(1e3 * value, 2) for name, value in median.items()},
        "ratio": round(median["nf4"] / median["float32"], 3),
        "bits_per_weight": round(bits_per_weight(SHAPE), 4),
    }


def error() -> dict[str, float]:
    import h5py
    import numpy as np

    from keras_transfer.peft.nf4 import pack, unpack

    kernels = {"normal": np.random.default_rng(0).normal(size=SHAPE).astype("float32")}
    with h5py.File(DATA / "text_minilm" / "all_minilm_l6_v2.bert_backbone.weights.h5") as file:

        def take(name: str, thing: object) -> None:
            if isinstance(thing, h5py.Dataset) and thing.size >= 384 * 384 and "transformer" in name:
                kernels[name] = thing[()].astype("float32")

        file.visititems(take)

    def relative(kernel: np.ndarray) -> float:
        again = np.asarray(unpack(pack(kernel), kernel.shape))
        return float(np.sqrt(np.mean((again - kernel) ** 2) / np.mean(kernel**2)))

    errors = {name: relative(kernel) for name, kernel in kernels.items()}
    real = [value for name, value in errors.items() if name != "normal"]
    return {
        "normal": round(errors["normal"], 4),
        "minilm_kernels": len(real),
        "minilm_mean": round(statistics.mean(real), 4),
        "minilm_largest": round(max(real), 4),
    }


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    run_rows("nf4", {f"speed {turn}": partial(speed, rounds) for turn in (1, 2, 3)} | {"error": error})
