"""Load pretrained weights from a file: all of them exactly, or none."""

import math
import shutil
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np

from .catalog import known, names
from .h5 import Comparison, WeightsFile, compare, read


def load_weights_exactly(model: keras.Model, path: str | Path, name: str | None = None) -> keras.Model:
    """Load a `.weights.h5` file of Keras 3 or an older `.h5` file into a built backbone, in place, and return it.

    Every weight of the model must stand in the file with its shape; of what else the file holds only one classifier
    layer on the backbone's channels is passed over. Kernels stored as float16 become the model's type. Raises
    `ValueError`, before anything is assigned, with the first weight that does not fit and the backbone of the catalogue
    that the file fits.

    Args:
        model: the backbone, without a classifier.
        path: the file; a download of `keras.applications`, `model.save_weights("x.weights.h5")`, `model.save("x.h5")`.
        name: what to call the model in errors.

    Example: `load_weights_exactly(keras.applications.MobileNetV2(include_top=False, weights=None), "v2.weights.h5")`
    """
    file = read(path)
    result = compare(model, file)
    if result.problem is not None:
        fits = fitting_name(file)
        hint = f" The file fits {fits!r}." if fits else ""
        raise ValueError(
            f"The weights file does not fit {name or model.name!r}: {result.problem}.{hint} Received: {str(path)!r}"
        )
    _assign(model, file, result)
    return model


def _assign(model: keras.Model, file: WeightsFile, result: Comparison) -> None:
    if file.layers is None:
        with tempfile.TemporaryDirectory() as folder:
            path = file.path
            if not path.name.endswith(".weights.h5"):  # Keras goes by the name
                path = Path(folder) / "copy.weights.h5"
                shutil.copyfile(file.path, path)
            model.load_weights(path)
        return
    with h5py.File(file.path) as source:
        for variable, dataset in result.assign:
            variable.assign(np.asarray(source[dataset]))
    for layer in model.layers:
        if hasattr(layer, "finalize_state") and layer.weights:
            layer.finalize_state()  # a Normalization computes from its weights what it uses


def fitting_name(file: WeightsFile) -> str | None:
    """The backbone of the catalogue that a file fits exactly, classifier or not; None where there is none.

    Building one costs seconds, so only those are built whose number of parameters is that of the file, or that of the
    file without one of its kernels, with or without its bias: the classifier.
    """
    sizes = {key: math.prod(shape) for key, shape in file.shapes.items()}
    kernels = [shape for shape in file.shapes.values() if len(shape) == 2 or shape[:2] == (1, 1)]
    tops = {0} | {math.prod(shape) + bias for shape in kernels for bias in (0, shape[-1])}
    for name in names():
        entry = known(name)
        if sum(sizes.values()) - entry.parameters not in tops:
            continue
        constructor = getattr(keras.applications, entry.constructor)
        shape = (entry.minimum_size, entry.minimum_size, 3)
        model = constructor(include_top=False, weights=None, input_shape=shape, **entry.arguments)
        if compare(model, file).problem is None:
            return name
    return None
