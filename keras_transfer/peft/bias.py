"""BitFit: only the biases learn, as differences to those of the base."""

from typing import Any

import keras
from keras import ops

from ..core.registry import register
from .places import standing
from .wrapper import Adapter, Injection, add_gated, add_to


def bias_of(layer: Any) -> Any:
    """What a layer adds at the end: its `bias`, or the `beta` of a normalisation; None where it has neither."""
    if isinstance(layer, Injection):
        return None
    found = [getattr(layer, name, None) for name in ("bias", "beta")]
    return next((one for one in found if isinstance(one, keras.Variable)), None)


def has_bias(path: str, layer: keras.layers.Layer) -> bool:
    """A predicate for `where`: the layers that end in a bias of their own."""
    return BitFit.handles(layer)


def places_with_bias(model: keras.Model) -> list[str]:
    """The places where a layer with a bias stands."""
    return [path for path, layers in standing(model).items() if BitFit.handles(layers[-1])]


def along_channels(layer: keras.layers.Layer, bias: Any, rank: int) -> Any:
    """A bias in the shape in which it is added to the layer's output of `rank` axes: along a normalisation's own axes, and of
    channels that come first the window follows."""
    if isinstance(layer, (keras.layers.LayerNormalization, keras.layers.BatchNormalization)):
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        sizes = dict(zip(sorted(axis % rank for axis in axes), bias.shape, strict=True))
        return ops.reshape(bias, [sizes.get(axis, 1) for axis in range(rank)])
    if getattr(layer, "data_format", None) == "channels_first" and hasattr(layer, "kernel_size"):
        return ops.reshape(bias, (-1, *[1] * len(layer.kernel_size)))
    return bias


@register("bitfit", kind="injection")
class BitFit(Injection):
    """A frozen layer, and beside it a difference to its bias that trains.

    Ben Zaken et al. 2021, BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models
    (arXiv:2106.10199): of all weights only the biases move, those of normalisations too; here `y = act(x W + bias + d)`
    with d zero at the start, so that the base keeps its own and `eject` gives it back.

    Stands around every layer that ends in a bias: Dense, EinsumDense, convolutions, LayerNormalization,
    BatchNormalization. It has no settings.

    Example: `model = kt.peft.inject(model, "bitfit")`
    """

    default_where = staticmethod(has_bias)

    def __init__(self, base: keras.layers.Layer, path: str) -> None:
        super().__init__(base, path)
        self.activation: Any = None
        if getattr(base, "activation", None) is not None:
            self.borrow("activation", keras.activations.linear)

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """A layer with a product or a normalisation that ends in a bias, and nothing after it but its activation."""
        ends = (*ENDS, keras.layers.Dense, keras.layers.EinsumDense)
        return isinstance(layer, ends) and bias_of(layer) is not None

    def add_weights(self, adapter: Adapter) -> None:
        """Make the difference."""
        adapter.add("bias", bias_of(self.innermost).shape)

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The base and the differences that are switched on."""
        y = self.base(x, *args, **kwargs)
        for adapter in self.adapters.values():
            y = add_gated(y, along_channels(self.innermost, adapter.bias, len(y.shape)), adapter.gate)
        return y if self.activation is None else self.activation(y)

    def merge(self, adapter: Adapter) -> None:
        """Add the difference to the bias."""
        add_to(bias_of(self.innermost), adapter.bias.value)


ENDS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.LayerNormalization,
    keras.layers.BatchNormalization,
)
