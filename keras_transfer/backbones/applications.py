"""A backbone of the catalogue, built by `keras.applications`, with ImageNet weights, those of a file, or none."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras

from ..core.progress import on_terminal
from ..core.surgery import walk
from .catalog import CatalogEntry
from .channels import check_channels
from .h5 import compare, read
from .weights import load_weights_exactly

Shape = tuple[int, int, int]

# The averages of 0.99 or 0.999 need thousands of steps; with a few photos a network from scratch stays at chance.
SCRATCH_MOMENTUM = 0.9


def from_catalog(
    known: CatalogEntry, weights: str | Path | None, input_shape: Shape | None
) -> tuple[keras.Model, Shape, str]:
    """The model named `backbone`, the shape of the pictures, and the preprocessing that it wants.

    The model takes RGB where its weights do, also where the pictures have another number of channels.
    """
    shape = input_shape or (known.image_size, known.image_size, 3)
    if min(shape[:2]) < known.minimum_size:
        raise ValueError(
            f"{known.name!r} needs pictures of at least {known.minimum_size} x {known.minimum_size}; give a larger "
            f"`input_shape`. Received: {shape}"
        )
    rgb = (*shape[:2], 3)
    if weights is None:
        model = start_from_scratch(_construct(known, shape, None))
    elif weights == "imagenet":
        check_channels(shape[2])
        model = _download(known, rgb)
    else:
        model = _construct(known, shape, None)
        if shape != rgb and compare(model, read(weights)).problem is not None:
            model = _construct(known, rgb, None)  # a file for RGB, which is what most files are
        load_weights_exactly(model, weights, known.name)
    other = known.other_channels if model.input_shape[-1] != 3 else None
    return keras.Model(model.inputs[0], model.outputs[0], name="backbone"), shape, other or known.preprocessing


def _construct(known: CatalogEntry, shape: Shape, weights: str | None) -> keras.Model:
    """Keras' model under its own name, which is a part of what some families download and call their layers."""
    constructor = getattr(keras.applications, known.constructor)
    with warnings.catch_warnings():
        # the catalogue says which weights other picture sizes get, and other channels were asked for
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
        warnings.filterwarnings("ignore", message="This model usually expects")
        return constructor(include_top=False, weights=weights, input_shape=shape, **known.arguments)


def _download(known: CatalogEntry, shape: Shape) -> keras.Model:
    try:
        with quiet_download():
            return _construct(known, shape, "imagenet")
    except Exception as error:  # Keras raises a bare Exception where the download fails
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ValueError(
            f"The ImageNet weights of {known.name!r} could not be fetched ({reason}); give --weights FILE|none, in "
            "Python weights=path or weights=None. Received: weights='imagenet'"
        ) from error


def start_from_scratch(model: keras.Model) -> keras.Model:
    """Let the BatchNorm of a model without pretrained weights follow the few steps of a small data set."""
    for layer in walk(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, SCRATCH_MOMENTUM)
    return model


@contextlib.contextmanager
def quiet_download() -> Iterator[None]:
    """Keras' own download bar only where a person watches."""
    if on_terminal() or not keras.config.is_interactive_logging_enabled():
        yield
        return
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()
