"""Random views of pixels 0..255, as layers inside the model: random in training, the identity everywhere else."""

import math
from typing import Any

import keras
from keras import ops

from ..core.messages import nearest
from ..core.registry import register

# smallest: least side of the view; rotation in degrees; contrast, brightness: largest change; erase: chance of a hole
LEVELS: dict[str, dict[str, float]] = {
    "none": {},
    "light": {"smallest": 0.8, "rotation": 5.0},
    "medium": {"smallest": 0.65, "rotation": 10.0, "contrast": 0.2, "brightness": 0.1},
    "strong": {"smallest": 0.5, "rotation": 20.0, "contrast": 0.4, "brightness": 0.2, "erase": 0.25},
}
_PIXELS = (0.0, 255.0)


@register("random_view")
class RandomView(keras.layers.Layer):
    """A mirrored, cropped, stretched and rotated view of each picture, drawn in one bilinear resampling.

    The output pixel p = (x, y) is read at `c + o + S R F (p - c)`: c the centre; F mirrors x with chance 1/2; R rotates
    by U(-rotation, rotation) degrees; S shrinks each axis by its own s ~ U(smallest, 1), so that nothing is aliased;
    the offset o ~ U(-(1 - s) c, (1 - s) c) keeps the unrotated view inside the picture, whose edge is repeated outside.
    One resampling takes a third of the time of Keras' four layers and blurs once.

    Input and output: (batch, height, width, channels), any number of channels, float32 in 0..255. Without
    `training=True` it returns its input. Raises `ValueError` for a `smallest` outside (0, 1] or a `rotation` outside
    [0, 180].

    >>> RandomView(smallest=0.8)(keras.ops.zeros((2, 8, 8, 1)), training=True).shape[1:] == (8, 8, 1)
    True
    """

    def __init__(
        self,
        smallest: float = 0.8,
        rotation: float = 0.0,
        mirror: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if not 0.0 < smallest <= 1.0:
            raise ValueError(f"`smallest`, the least side of a view, must be in (0, 1]. Received: {smallest!r}")
        if not 0.0 <= rotation <= 180.0:
            raise ValueError(f"`rotation` must be in [0, 180] degrees. Received: {rotation!r}")
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.smallest, self.rotation, self.mirror, self.seed = smallest, rotation, mirror, seed
        self.generator = keras.random.SeedGenerator(seed)
        # TensorFlow's resampling has no XLA kernel
        self.supports_jit = keras.config.backend() != "tensorflow"
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        if not training:
            return images
        height, width = ops.shape(images)[1:3]
        transform = self.draw(ops.shape(images)[0], height, width)
        views = ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )
        return ops.clip(views, *_PIXELS)

    def draw(self, batch: Any, height: int, width: int) -> Any:
        """Draw one projective transform a picture, (batch, 8): input x = a0 x + a1 y + a2, y = b0 x + b1 y + b2."""

        def uniform(shape: tuple[Any, ...], low: float, high: float) -> Any:
            return keras.random.uniform(shape, low, high, dtype="float32", seed=self.generator)

        turn = math.radians(self.rotation)
        side = uniform((2, batch), self.smallest, 1.0)
        angle = uniform((batch,), -turn, turn)
        mirror = ops.where(uniform((batch,), 0.0, 1.0) < (0.5 if self.mirror else 0.0), -1.0, 1.0)
        place = (1.0 - side) * uniform((2, batch), -1.0, 1.0)
        x, y = (ops.cast(width, "float32") - 1.0) / 2.0, (ops.cast(height, "float32") - 1.0) / 2.0
        a0, a1 = mirror * side[0] * ops.cos(angle), -side[0] * ops.sin(angle)
        b0, b1 = mirror * side[1] * ops.sin(angle), side[1] * ops.cos(angle)
        a2, b2 = x * (1.0 + place[0]) - a0 * x - a1 * y, y * (1.0 + place[1]) - b0 * x - b1 * y
        zero = ops.zeros_like(a0)
        return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"smallest": self.smallest, "rotation": self.rotation, "mirror": self.mirror, "seed": self.seed}
        return {**super().get_config(), **own}


@register("augmentation")
class Augmentation(keras.Sequential):
    """Layers that run in training only: called without `training=True` this is the identity, whatever is inside.

    Keras' Random* layers are random by default, and pass that on to every layer of the call: a plain `model(x)` is then
    random, moves BatchNorm's statistics, and is exported so. Here inference is the default.
    """

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        return super().call(inputs, training=bool(training), mask=mask) if training else inputs


def augmentation_layers(level: str, name: str = "augmentation", seed: int | None = None) -> Augmentation | None:
    """The layers of a level, `"none" | "light" | "medium" | "strong"`; None for `"none"`.

    Pixels 0..255 with any number of channels; float32 under every dtype policy; the output stays in 0..255.

    >>> [layer.name for layer in augmentation_layers("medium").layers]
    ['view', 'contrast', 'brightness']
    """
    if level not in LEVELS:
        raise ValueError(f"Unknown augmentation. {nearest(str(level), LEVELS)} Received: {level!r}")
    amount = LEVELS[level]
    if not amount:
        return None
    shared: dict[str, Any] = {"dtype": "float32", "seed": seed}
    layers: list[keras.layers.Layer] = [RandomView(amount["smallest"], amount["rotation"], name="view", **shared)]
    if contrast := amount.get("contrast"):
        # the pair: Keras reads a single number as "never less contrast"
        layers.append(keras.layers.RandomContrast((contrast, contrast), value_range=_PIXELS, name="contrast", **shared))
    if brightness := amount.get("brightness"):
        layers.append(keras.layers.RandomBrightness(brightness, value_range=_PIXELS, name="brightness", **shared))
    if erase := amount.get("erase"):
        hole = keras.layers.RandomErasing((erase, erase), (0.02, 0.2), 127.5, _PIXELS, name="erase", **shared)
        layers.append(hole)
    return Augmentation(layers, name=name)
