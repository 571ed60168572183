"""Make the part called `backbone`: from the catalogue, or from a model that the user brings."""

import contextlib
import warnings
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import keras

from ..core.progress import on_terminal
from ..core.surgery import functional
from .catalog import CatalogEntry, entry
from .weights import load_weights_exactly

Shape = tuple[int, int, int]

# The averages of 0.99 or 0.999 need thousands of steps; with a few photos a network from scratch stays at chance.
SCRATCH_MOMENTUM = 0.9


class Backbone(NamedTuple):
    """A model named `backbone`, the pixels that it takes, how they are scaled for it, and whether it is pretrained."""

    model: keras.Model
    input_shape: Shape
    preprocessing: str
    pretrained: bool


def make_backbone(backbone: str | keras.Model, weights: str | Path | None, input_shape: Shape | None) -> Backbone:
    """A backbone by its name in the catalogue, or around the user's own model, whose layers it shares."""
    if not (weights is None or isinstance(weights, (str, Path))):
        raise TypeError(f"`weights` must be 'imagenet', the path of an .h5 file, or None. Received: {weights!r}")
    if input_shape is not None:
        input_shape = _check_shape(input_shape)
    if isinstance(backbone, str):
        return _from_catalog(entry(backbone), weights, input_shape)
    if isinstance(backbone, keras.Model):
        return _from_model(backbone, weights, input_shape)
    raise TypeError(f"`backbone` must be a name of the catalogue or a keras.Model. Received: {backbone!r}")


def _check_shape(shape: Shape) -> Shape:
    whole = isinstance(shape, (tuple, list)) and all(isinstance(n, Integral) and n > 0 for n in shape)
    if not whole or len(shape) != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, channels), positive whole numbers. Received: {shape!r}"
        )
    height, width, channels = shape
    return int(height), int(width), int(channels)


def _from_catalog(known: CatalogEntry, weights: str | Path | None, input_shape: Shape | None) -> Backbone:
    shape = input_shape or (known.image_size, known.image_size, 3)
    if min(shape[:2]) < known.minimum_size:
        raise ValueError(
            f"{known.name!r} needs pictures of at least {known.minimum_size} x {known.minimum_size}; give a larger "
            f"`input_shape`. Received: {shape}"
        )
    if weights == "imagenet" and shape[2] != 3:
        raise ValueError(
            "ImageNet weights are for three channels (RGB); load the pictures with channels=3, or give weights=None. "
            f"Received: input_shape={shape}"
        )
    model = _download(known, shape) if weights == "imagenet" else _construct(known, shape, None)
    if weights is not None and weights != "imagenet":
        load_weights_exactly(model, weights, known.name)
    if weights is None:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, SCRATCH_MOMENTUM)
    # a mean for each of three channels says nothing about others
    preprocessing = "tf" if shape[2] != 3 and known.preprocessing in ("caffe", "torch") else known.preprocessing
    return Backbone(model, shape, preprocessing, weights is not None)


def _construct(known: CatalogEntry, shape: Shape, weights: str | None) -> keras.Model:
    constructor = getattr(keras.applications, known.constructor)
    with warnings.catch_warnings():
        # the catalogue says which weights other picture sizes get, and other channels were asked for
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
        warnings.filterwarnings("ignore", message="This model usually expects")
        return constructor(include_top=False, weights=weights, input_shape=shape, name="backbone", **known.arguments)


def _download(known: CatalogEntry, shape: Shape) -> keras.Model:
    try:
        with _quiet():
            return _construct(known, shape, "imagenet")
    except Exception as error:  # Keras raises a bare Exception where the download fails
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ValueError(
            f"The ImageNet weights of {known.name!r} could not be fetched ({reason}); give --weights FILE|none, in "
            "Python weights=path or weights=None. Received: weights='imagenet'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keras' own download bar only where a person watches."""
    if on_terminal() or not keras.config.is_interactive_logging_enabled():
        yield
        return
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()


def _from_model(model: keras.Model, weights: str | Path | None, input_shape: Shape | None) -> Backbone:
    graph = functional(model)
    wrapped, shape = _share(model, graph, input_shape) if graph is not None else _wrap(model, input_shape)
    if weights is not None and weights != "imagenet":
        load_weights_exactly(wrapped, weights)
    return Backbone(wrapped, shape, "none", weights is not None)


def _share(model: keras.Model, graph: keras.Model, input_shape: Shape | None) -> tuple[keras.Model, Shape]:
    """The same graph under the name `backbone`."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            "A backbone must have one input and one output; build keras.Model(input, features) from yours. "
            f"Received: model {model.name!r} with {len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        )
    own = tuple(graph.inputs[0].shape[1:])
    if len(own) != 3:
        raise ValueError(
            "A backbone must take pictures, (batch, height, width, channels). "
            f"Received: model {model.name!r} with input shape {(None, *own)}"
        )
    shape = input_shape or own
    if any(n is None for n in shape):
        raise ValueError(
            "The model leaves its picture size open; give `input_shape`. "
            f"Received: model {model.name!r} with input shape {(None, *own)}"
        )
    if any(mine is not None and mine != asked for mine, asked in zip(own, shape, strict=True)):
        raise ValueError(f"`input_shape` must be that of the model, {own}, or left out. Received: {shape}")
    return keras.Model(graph.inputs[0], graph.outputs[0], name="backbone"), shape


def _wrap(model: keras.Model, input_shape: Shape | None) -> tuple[keras.Model, Shape]:
    """A subclassed model, which has no graph, inside a Sequential named `backbone`."""
    if input_shape is None:
        raise ValueError(
            "A subclassed or unbuilt model does not say which pictures it takes; give `input_shape`. "
            f"Received: model {model.name!r}"
        )
    pixels = keras.Input(input_shape)
    if not isinstance(model(pixels), keras.KerasTensor):
        raise ValueError(f"A backbone must give one tensor. Received: model {model.name!r}, which gives several")
    return keras.Sequential([pixels, model], name="backbone"), input_shape
