"""Image backbones of keras-hub: a preset by its name or from a folder, with the scaling that its image converter does."""

from pathlib import Path
from typing import Any

import keras
import keras_hub

from ..core.messages import nearest
from .applications import Shape, quiet_download, start_from_scratch
from .weights import load_weights_exactly

_USUAL_SIZE = 224  # of backbones that take any size
_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")  # their first token is one


def preset_size(preset: str) -> int:
    """Height and width of the pictures that a preset was made for."""
    converter = _converter(_check(preset))
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
    size = input_shape[:2] if input_shape else (preset_size(_check(preset)),) * 2
    channels = input_shape[2] if input_shape else 3
    scaling = _scaling(_converter(preset))
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


def _check(preset: str) -> str:
    """Refuse what can be no preset, before anything is fetched."""
    known = keras_hub.models.Backbone.presets
    if preset not in known and "://" not in preset and not Path(preset).expanduser().is_dir():
        raise ValueError(
            "A backbone of keras-hub is 'hub:' and a preset that it knows, a handle like kaggle://..., or a folder that "
            f"exists. {nearest(preset, known)} Received: {preset!r}"
        )
    return preset


def _load(preset: str, load_weights: bool, **arguments: Any) -> keras.Model:
    try:
        with quiet_download():
            return keras_hub.models.Backbone.from_preset(_path(preset), load_weights=load_weights, **arguments)
    except Exception as error:  # a missing file, a network that is not there, weights for another size: all differ
        raise _not_loaded(preset, error, arguments.get("image_shape")) from error


def _not_loaded(preset: str, error: Exception, shape: Shape | None = None) -> ValueError:
    """One sentence for a preset that did not load, whatever it failed with."""
    reason = str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
    what = f" for pictures {shape}; weights of a Vision Transformer are for one size" if shape else ""
    return ValueError(
        f"The preset could not be loaded{what} ({reason[:200]}). Leave `input_shape` out, and without a network give "
        f"'hub:' and the folder of a preset. Received: {preset!r}"
    )


def _path(preset: str) -> str:
    folder = Path(preset).expanduser()
    return str(folder) if folder.is_dir() else preset


def _converter(preset: str) -> Any:
    """The preset's image converter, without its resizing; None where it has none."""
    try:
        return keras_hub.layers.ImageConverter.from_preset(_path(preset))
    except FileNotFoundError:
        return None
    except Exception as error:
        if "subclass of ImageConverter" in str(error):
            return None
        raise _not_loaded(preset, error) from error


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
