"""int8 beside float32: ants and bees, and seven pretrained classifiers of ImageNet.

`python tests/benchmarks/int8.py [ants] [imagenet] [latency]`. Ants and bees: MobileNetV2 1.0 at 224, its head trained on frozen
features, all four precisions certified on the 153 validation pictures; int8 is calibrated on training pictures. ImageNet:
six MobileNets with the classifier they were trained with, on 150 photos of the ImageNet training set (the seventh file has
no classifier: ants and bees again). No other photos of ImageNet's classes are at hand, so int8 is calibrated on 100 photos
of ants, bees and Flickr8k, which is another domain: a network with a training set of its own may fare better.
"""

import csv
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from harness import DATA, run_rows

BACKBONES = {
    "mobilenet_0.25_128": ("MobileNet", 0.25, 128),
    "mobilenet_0.25_224": ("MobileNet", 0.25, 224),
    "mobilenet_0.50_160": ("MobileNet", 0.5, 160),
    "mobilenet_0.75_192": ("MobileNet", 0.75, 192),
    "mobilenet_1.00_224": ("MobileNet", 1.0, 224),
    "mobilenetv2_1.00_224": ("MobileNetV2", 1.0, 224),
}
WITHOUT_CLASSIFIER = ("mobilenet_v2_0.35", "mobilenetv2_0.35_224_notop")
PRECISIONS = ("float32", "float16", "dynamic", "int8")


def figures(model: Any, data: Any, calibration: Any = None, resize: str | None = None) -> dict[str, Any]:
    """Every precision: what its certificate says, whether it passes or not."""
    import keras_transfer as kt

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            calibrated = {"representative": calibration} if precision == "int8" else {}
            path = Path(folder) / f"model_{precision}.tflite"
            try:
                told = kt.export_tflite(model, path, precision, data=data, resize=resize, **calibrated)
            except kt.export.CertificateError as error:
                told = error.certificate
            found[precision] = {
                "passed": told.passed,
                "agreement": round(told.top1_agreement, 4),
                "difference": float(f"{told.max_difference:.3g}"),
                "accuracy": round(told.accuracy_after, 4),
                "bytes": told.bytes,
            }
            found["Keras"] = round(told.accuracy_before, 4)
    return found


def ants(seed: int, backbone: str = "mobilenet_v2", file: str = "mobilenetv2_1.00_224") -> dict[str, Any]:
    import keras

    import keras_transfer as kt

    data = kt.load_images(DATA / "hymenoptera", image_size=224, seed=seed)
    keras.utils.set_random_seed(seed)
    model = kt.build_classifier(backbone, 2, weights=DATA / "backbones" / f"{file}.weights.h5")
    kt.tuning.feature_extraction(model, data, verbose=0)
    return figures(model, data)


def imagenet(name: str) -> dict[str, Any]:
    import keras
    import numpy as np

    from keras_transfer.data.resize import load_picture

    cls, alpha, size = BACKBONES[name]
    classifier = getattr(keras.applications, cls)(input_shape=(size, size, 3), alpha=alpha, weights=None)
    classifier.load_weights(DATA / "backbones" / f"{name}.weights.h5")
    pictures = keras.Input((size, size, 3))
    model = keras.Model(pictures, classifier(keras.layers.Rescaling(1 / 127.5, -1)(pictures)))
    with open(DATA / "imagenet_sample" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    x = np.stack([load_picture(DATA / "imagenet_sample" / row["file"], (size, size), "crop") for row in rows])
    y = np.array([int(row["class_index"]) for row in rows])
    others = sorted((DATA / "hymenoptera" / "train").rglob("*.jpg"))[::5][:50]
    others += sorted((DATA / "flickr8k_1000" / "images").glob("*.jpg"))[::20][:50]
    calibration = np.stack([load_picture(path, (size, size), "crop") for path in others])
    return figures(model, (x, y), calibration, "crop")


def latency() -> dict[str, Any]:
    """Median milliseconds of every precision on one and two threads, in turns; a machine that does nothing else."""
    import keras_transfer as kt
    from keras_transfer.export.timing import latencies

    data = kt.load_images(DATA / "hymenoptera", image_size=224)
    model = kt.build_classifier("mobilenet_v2", 2, weights=DATA / "backbones" / "mobilenetv2_1.00_224.weights.h5")
    kt.tuning.feature_extraction(model, data, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"model_{precision}.tflite" for precision in PRECISIONS]
        for precision, path in zip(PRECISIONS, paths, strict=True):
            kt.export_tflite(model, path, precision, data=data)
        found = dict(zip(PRECISIONS, latencies(paths, seconds=2.0), strict=True))
    whole, small = found["float32"], found["int8"]
    return {"ms": found, "int8 over float32": {threads: round(small[threads] / whole[threads], 3) for threads in whole}}


def show(key: str, row: dict[str, Any]) -> None:
    whole, small = row["float32"], row["int8"]
    accuracies = ", ".join(f"{precision} {row[precision]['accuracy']}" for precision in PRECISIONS)
    print(
        f"{key}: accuracy in Keras {row['Keras']}, {accuracies}; int8 agrees on {small['agreement']} and takes "
        f"{small['bytes'] / whole['bytes']:.3f} of the bytes"
    )


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["ants", "imagenet", "latency"]
    rows = {}
    if "ants" in wanted:
        rows |= {f"ants and bees, seed {seed}": partial(ants, seed) for seed in range(3)}
        rows[f"ants and bees, {WITHOUT_CLASSIFIER[1]}"] = partial(ants, 0, *WITHOUT_CLASSIFIER)
    if "imagenet" in wanted:
        rows |= {f"imagenet, {name}": partial(imagenet, name) for name in BACKBONES}
    for key, row in run_rows("int8", rows).items():
        show(key, row)
    if "latency" in wanted:
        print(run_rows("int8", {"latency": latency})["latency"])
