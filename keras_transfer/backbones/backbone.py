"""Make the part called `backbone`: from the catalogue, from keras-hub, or from a model that the user brings."""

from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import keras

from ..core.surgery import functional
from .applications import Shape, from_catalog
from .catalog import HubEntry, entry
from .weights import load_weights_exactly


class Backbone(NamedTuple):
    """A model named `backbone`, the pictures that are given to it, how they are scaled for it, and whether it is pretrained.

    Where the model takes RGB and the pictures have other channels, `to_rgb` stands between them. `preprocessing` is a
    mode of `Preprocessing`, a layer, or None where nobody knows. `class_token`: the first of its tokens speaks for all.
    """

    model: keras.Model
    input_shape: Shape
    preprocessing: str | keras.layers.Layer | None
    pretrained: bool
    class_token: bool = False


def make_backbone(backbone: str | keras.Model, weights: str | Path | None, input_shape: Shape | None) -> Backbone:
    """A backbone by its name in the catalogue, or around the user's own model, whose layers it shares."""
    if not (weights is None or isinstance(weights, (str, Path))):
        raise TypeError(f"`weights` must be 'imagenet', the path of an .h5 file, or None. Received: {weights!r}")
    if input_shape is not None:
        input_shape = _check_shape(input_shape)
    if isinstance(backbone, keras.Model):
        return _from_model(backbone, weights, input_shape)
    if not isinstance(backbone, str):
        raise TypeError(f"`backbone` must be a name of the catalogue or a keras.Model. Received: {backbone!r}")
    known = entry(backbone)
    if isinstance(known, HubEntry):
        from .hub import from_preset  # keras-hub takes its time, and most never need it

        return Backbone(*from_preset(known.preset, weights, input_shape))
    return Backbone(*from_catalog(known, weights, input_shape), weights is not None)


def short_name(backbone: str | keras.Model) -> str:
    """What to call a model after: the name in the catalogue, the end of a preset's name or folder, the user's model."""
    return backbone.name if isinstance(backbone, keras.Model) else Path(backbone.partition(":")[2] or backbone).name


def _check_shape(shape: Shape) -> Shape:
    whole = isinstance(shape, (tuple, list)) and all(isinstance(n, Integral) and n > 0 for n in shape)
    if not whole or len(shape) != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, channels), positive whole numbers. Received: {shape!r}"
        )
    height, width, channels = shape
    return int(height), int(width), int(channels)


def _from_model(model: keras.Model, weights: str | Path | None, input_shape: Shape | None) -> Backbone:
    graph = functional(model)
    wrapped, shape = _share(model, graph, input_shape) if graph is not None else _wrap(model, input_shape)
    if weights is not None and weights != "imagenet":
        load_weights_exactly(wrapped, weights)
    return Backbone(wrapped, shape, "none", weights is not None)


def _share(model: keras.Model, graph: keras.Model, input_shape: Shape | None) -> tuple[keras.Model, Shape]:
    """The graph as a new model named `backbone` over the same layers, whatever it was called and compiled for."""
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
    given = shape if own[2] != 3 or shape[2] not in (1, 4) else (*shape[:2], 3)  # `to_rgb` stands before it
    if any(mine is not None and mine != asked for mine, asked in zip(own, given, strict=True)):
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
