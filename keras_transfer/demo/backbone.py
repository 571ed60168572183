"""The demo's backbone: a small convolutional net for 32x32 grey pictures, and the weights it learned on glyphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

WEIGHTS = Path(__file__).with_name("glyphs.weights.h5")
STEM, BLOCKS = 16, (48, 96)


def glyph_backbone(weights: str | Path | None = WEIGHTS) -> keras.Model:
    """A Functional model (batch, 32, 32, 1) in [0, 1] -> (batch, 4, 4, 96): a stem and two blocks of two convolutions.

    Pictures in 0..255 are scaled by 1/255 before it, so that black stays zero and zero padding is black.
    `weights` is a file of this architecture, by default the one that comes with the package; None starts at random.
    The layers are named `stem_*`, `block1_*`, `block2_*`; BatchNorm's momentum is low (0.9) for short training.

    >>> glyph_backbone(weights=None).output_shape
    (None, 4, 4, 96)
    """
    import keras

    def convolve(x: Any, filters: int, name: str, kernel: int = 3, strides: int = 1) -> Any:
        x = keras.layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    inputs = keras.Input((32, 32, 1), name="pixels")
    x = convolve(inputs, STEM, "stem", kernel=5, strides=2)
    for number, filters in enumerate(BLOCKS, 1):
        x = convolve(x, filters, f"block{number}_a", strides=2)
        x = convolve(x, filters, f"block{number}_b")
    model = keras.Model(inputs, x, name="glyph_backbone")
    if weights is not None:
        model.load_weights(str(weights))
    return model
