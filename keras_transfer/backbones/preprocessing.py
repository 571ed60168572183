"""Pixels to what a backbone expects, as a layer, so that a model takes pixels 0..255 wherever it goes."""

from typing import Any

import keras
from keras import ops

from ..core.messages import nearest
from ..core.registry import register

# channel means and deviations of ImageNet
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)
MODES = ("tf", "caffe", "torch", "unit", "none")


@register("preprocessing")
class Preprocessing(keras.layers.Layer):
    """Scale pixels `x` in 0..255, shape (batch, height, width, channels), as a pretrained backbone expects them.

    - `"tf"`: `x / 127.5 - 1`, in [-1, 1];
    - `"caffe"`: RGB to BGR, minus the ImageNet mean of each channel, in about [-124, 152];
    - `"torch"`: `(x / 255 - mean) / deviation`, channel by channel;
    - `"unit"`: `x / 255`, in [0, 1];
    - `"none"`: as it is, for a backbone that scales inside.

    The first three equal `keras.applications.imagenet_utils.preprocess_input` to the last bit. Computes in float32
    under every dtype policy. Raises `ValueError` for an unknown mode, and for `"caffe"` and `"torch"` without three
    channels.

    >>> float(Preprocessing("tf")(keras.ops.full((1, 2, 2, 3), 255.0))[0, 0, 0, 0])
    1.0
    """

    def __init__(self, mode: str = "tf", **kwargs: Any):
        if mode not in MODES:
            raise ValueError(f"Unknown preprocessing. {nearest(str(mode), MODES)} Received: {mode!r}")
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.mode = mode

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.mode in ("caffe", "torch") and input_shape[-1] != 3:
            raise ValueError(
                f"Preprocessing {self.mode!r} has a mean for each of three channels; use 'tf', 'unit' or 'none' for "
                f"other pictures. Received: {input_shape[-1]} channels"
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        pixels = ops.cast(inputs, self.compute_dtype)
        if self.mode == "tf":
            return pixels / 127.5 - 1.0
        if self.mode == "caffe":
            return ops.flip(pixels, axis=-1) - ops.array(_CAFFE_MEAN, self.compute_dtype)
        if self.mode == "torch":
            centred = pixels / 255.0 - ops.array(_TORCH_MEAN, self.compute_dtype)
            return centred / ops.array(_TORCH_DEVIATION, self.compute_dtype)
        return pixels / 255.0 if self.mode == "unit" else pixels

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}
