"""Grey pictures and pictures with a fourth channel in front of a backbone that takes RGB."""

import keras
import numpy as np

NAME = "to_rgb"


def to_rgb(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels of one or four channels, (batch, height, width, 1 or 4), as RGB, by a layer named `to_rgb`.

    One channel is repeated: `(g, g, g)`, what a grey photo is in RGB. Four are projected, `rgb_j = sum_c K_cj x_c`, by a
    1 x 1 convolution that starts with `K = (I; 0)`: red, green and blue pass, the fourth is ignored until training
    finds a use for it. Raises `ValueError` for other numbers of channels.
    """
    channels = pixels.shape[-1]
    check_channels(channels)
    if channels == 1:
        return keras.layers.Concatenate(axis=-1, dtype="float32", name=NAME)([pixels] * 3)
    project = keras.layers.Conv2D(3, 1, use_bias=False, dtype="float32", name=NAME)
    rgb = project(pixels)
    project.kernel.assign(np.eye(4, 3, dtype="float32")[None, None])
    return rgb


def check_channels(channels: int) -> None:
    """Refuse pictures that no backbone for RGB can take."""
    if channels not in (1, 3, 4):
        raise ValueError(
            "A backbone for RGB takes pictures of one (grey), three or four channels; load them with one of these, or "
            f"give weights=None. Received: {channels} channels"
        )
