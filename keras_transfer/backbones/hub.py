"""Image backbones of keras-hub: a preset by its name or from a folder, with the scaling that its image converter does."""

from pathlib import Path
from typing import Any

import keras
import keras_hub

from .applications import Shape, quiet_download, start_from_scratch
from .presets import check_preset, not_loaded, preset_path
from .weights import load_weights_exactly

_PRESET = "A backbone of keras-hub is 'hub:' and a preset that it knows"
_HELP = "Leave `input_shape` out, and without a network give 'hub:' and the folder of a preset."
_USUAL_SIZE = 224  # of backbones that take any size
_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")  # their first token is one


def preset_size(preset: str) -> int:
    """Height and width of the pictures that a preset was made for."""
    converter = _converter(check_preset(preset, _PRESET))
    shape = getattr(converter, "image_size", None)
    shape = shape or _shape_of(_load(preset, load_weights=False))
    if shape[0] is None:
        return _USUAL_SIZE
    if shape[0] != shape[1]:
        raise ValueError(
            f"The preset {preset!r} takes pictures that are not square; build it in Python and give `input_shape`. "
            f"Received: height and width {tuple(shape)}"
        )
    return int(shape[0])


def from_preset(
    preset: str, weights: str | Path | None, input_shape: Shape | None
) -> tuple[keras.Model, Shape, keras.layers.Layer | None, bool, bool]:
    """A preset as the fields of `Backbone`: its own model, named `backbone`, because many cannot be rewired and saved."""
    size = input_shape[:2] if input_shape else (preset_size(preset),) * 2
    channels = input_shape[2] if input_shape else 3
    scaling = _scaling(_converter(check_preset(preset, _PRESET)))
    loaded = _load(preset, load_weights=weights == "imagenet", image_shape=(*size, 3), name="backbone")
    if len(loaded.inputs) != 1 or len(loaded.outputs) != 1 or len(loaded.inputs[0].shape) != 4:
        raise ValueError(
            "A backbone must take pictures and give one tensor; choose an image backbone of keras-hub. "
            f"Received: {type(loaded).__name__} with {len(loaded.inputs)} inputs and {len(loaded.outputs)} outputs"
        )
    if weights is None:
        start_from_scratch(loaded)
    elif weights != "imagenet":
        load_weights_exactly(loaded, weights, preset)
    token = getattr(loaded, "use_class_token", type(loaded).__name__ in _CLASS_TOKEN)
    return loaded, (*size, channels), scaling, weights is not None, bool(token)


def _load(preset: str, load_weights: bool, **arguments: Any) -> keras.Model:
    try:
        with quiet_download():
            return keras_hub.models.Backbone.from_preset(preset_path(preset), load_weights=load_weights, **arguments)
    except Exception as error:  # a missing file, a network that is not there, weights for another size: all differ
        shape = arguments.get("image_shape")
        what = f" for pictures {shape}; weights of a Vision Transformer are for one size" if shape else ""
        raise not_loaded(preset, error, _HELP, what) from error


def _converter(preset: str) -> Any:
    """The preset's image converter, without its resizing; None where it has none."""
    try:
        return keras_hub.layers.ImageConverter.from_preset(preset_path(preset))
    except FileNotFoundError:
        return None
    except Exception as error:
        if "subclass of ImageConverter" in str(error):
            return None
        raise not_loaded(preset, error, _HELP) from error


def _scaling(converter: Any) -> keras.layers.Layer | None:
    """What the converter does to pixels beside resizing, `x * scale + offset`, channel by channel, as a layer of Keras."""
    if converter is None:
        return None
    if type(converter).call is not keras_hub.layers.ImageConverter.call:
        raise ValueError(
            "The image converter must scale and shift pixels and do nothing else; give `preprocessing` and a keras.Model "
            f"as `backbone`. Received: {type(converter).__name__}"
        )
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")


def _shape_of(backbone: keras.Model) -> tuple[int | None, int | None]:
    return tuple(backbone.inputs[0].shape[1:3])
