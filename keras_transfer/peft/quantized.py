"""Layers whose frozen kernel is kept in NF4: a quarter of the bytes of half precision, for LoRA on top (QLoRA)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ..core.registry import register
from ..core.surgery import scoped_path
from .nf4 import Packed, pack, sizes, unpack
from .recomputed import after, product

KINDS = {"codes": "uint8", "scales": "uint8", "spans": "float32", "offset": "float32"}
PARTS = (*KINDS,)


class NF4Layer:
    """What both NF4 layers share: four parts in place of a float kernel, multiplied without keeping the kernel alive.

    The parts are weights (uint8, and float32 under every precision) that no optimizer moves. A kernel is made anew in
    every call, and once more in the backward pass, in the layer's compute dtype: what stands between the passes is 4 bits
    a weight. Bias and activation stay as they are. `kernel` gives the dequantised kernel to whoever asks.
    """

    def build(self: Any, input_shape: Any) -> None:
        super().build(input_shape)  # type: ignore[misc]
        quantise_layer(self)

    @property
    def kernel(self: Any) -> Any:
        """The kernel that the four parts stand for."""
        return self.kernel_after(None)

    def kernel_after(self: Any, tensor: Any) -> Any:
        """The kernel, made when `tensor` is there."""
        codes = self.codes if tensor is None else after(self.codes, tensor)
        return unpack((codes, self.scales, self.spans, self.offset), self.kernel_shape, self.compute_dtype)

    def dequantise(self) -> None:
        """Become the float layer again, in place."""
        dequantise_layer(self)

    def call(self: Any, inputs: Any, training: bool | None = None) -> Any:
        x = product(self, inputs, training)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)

    def save_own_variables(self: Any, store: Any) -> None:
        for name in (*PARTS, "bias"):
            if getattr(self, name, None) is not None:
                store[name] = ops.convert_to_numpy(getattr(self, name))

    def load_own_variables(self: Any, store: Any) -> None:
        """Read the four parts, or the kernel of a float file, which is quantised as it comes in."""
        held = set(store.keys())
        names = [*PARTS, "bias"] if self.bias is not None else [*PARTS]
        if held == set(names):
            for name in names:
                getattr(self, name).assign(store[name])
        elif held == {str(place) for place in range(len(names) - len(PARTS) + 1)}:
            _check_shape(self, store["0"])
            for name, part in pack(store["0"])._asdict().items():
                getattr(self, name).assign(part)
            if self.bias is not None:
                self.bias.assign(store["1"])
        else:
            raise ValueError(
                f"Layer {self.name!r} needs the weights {names}, or those of a float layer. Received: {sorted(held)}"
            )


@register("nf4_dense")
class NF4Dense(NF4Layer, keras.layers.Dense):
    """A `Dense` whose kernel is NF4 with double quantisation (Dettmers et al. 2023, arXiv:2305.14314), and does not train.

    `y = x W + b` with `W = unpack(codes, scales, spans, offset)`, (in, units). Built by itself it quantises its initial
    kernel; `quantize` makes it of a trained layer. Example: `NF4Dense(64)`
    """


@register("nf4_einsum_dense")
class NF4EinsumDense(NF4Layer, keras.layers.EinsumDense):
    """An `EinsumDense`, of any equation, whose kernel is NF4 with double quantisation, and does not train.

    Dettmers et al. 2023 (arXiv:2305.14314). Weights are taken in the kernel's own order, axis after axis, in blocks of 64.
    Example: `NF4EinsumDense("abc,cde->abde", (None, 12, 64), bias_axes="de")`
    """


CLASSES = {keras.layers.Dense: NF4Dense, keras.layers.EinsumDense: NF4EinsumDense}


@register("nf4", kind="replacement")
def quantise_layer(layer: Any, packed: Packed | None = None) -> Any:
    """Turn a built Dense or EinsumDense into its NF4 kind, in place: same object, same name, the float kernel gone."""
    if type(layer) not in (*CLASSES, *CLASSES.values()):
        raise ValueError(
            "NF4 takes Dense and EinsumDense themselves; leave a subclass out with `where`. "
            f"Received: {layer.name!r}, a {type(layer).__name__}"
        )
    if layer.quantization_mode or layer.lora_enabled:
        state = f"quantised to {layer.quantization_mode}" if layer.quantization_mode else "under Keras' own LoRA"
        raise ValueError(f"NF4 takes a float layer. Received: {layer.name!r}, {state}")
    if not layer.built:
        raise ValueError(f"A layer must be built (call the model once) to be quantised. Received: {layer.name!r}")
    kernel = layer._kernel
    shape, path = tuple(kernel.shape), kernel.path.rpartition("/")[0]
    packed = packed or pack(kernel)
    _drop(layer, "_kernel")
    layer._tracker.unlock()
    with scoped_path(path):
        for name, part in packed._asdict().items():
            variable = keras.Variable(part, dtype=str(part.dtype), trainable=False, autocast=False, name=name)
            setattr(layer, name, variable)
    layer.kernel_shape = shape
    layer._tracker.lock()
    layer.__class__ = CLASSES.get(type(layer), type(layer))
    return layer


def dequantise_layer(layer: Any) -> None:
    """Turn an NF4 layer back into its float kind, in place; its kernel is what the four parts stand for."""
    dtype, path = layer.variable_dtype, layer.codes.path.rpartition("/")[0]
    kernel = unpack([getattr(layer, name) for name in PARTS], layer.kernel_shape, dtype)
    for name in PARTS:
        _drop(layer, name)
    layer._tracker.unlock()
    with scoped_path(path):
        layer._kernel = keras.Variable(kernel, dtype=dtype, name="kernel")
    del layer.kernel_shape
    if layer.bias is not None:
        bias = layer.bias
        layer._untrack_variable(bias)  # and again, so that the kernel comes first, as before
        layer._tracker.unlock()
        layer.bias = bias
    layer._tracker.lock()
    layer.__class__ = next(plain for plain, ours in CLASSES.items() if type(layer) is ours)
    layer._kernel.trainable = layer.trainable


def _drop(layer: Any, name: str) -> None:
    """Take a variable off a layer. Keras' own `del` searches all memory for cycles each time, half a second a variable."""
    layer._untrack_variable(getattr(layer, name))
    super(keras.layers.Layer, layer).__delattr__(name)


def put_off(layer: Any) -> None:
    """Let a kernel that Keras has not made yet never be made: in its place, when its turn comes, stands a blank NF4 one."""
    kernel = layer._kernel

    def blank() -> None:
        kernel._initializer = None
        parts = {name: np.zeros(size) for name, size in sizes(tuple(kernel.shape)).items()}
        quantise_layer(layer, Packed(*(parts[name].astype(kind) for name, kind in KINDS.items())))

    kernel._deferred_initialize = blank


def _check_shape(layer: Any, kernel: Any) -> None:
    if tuple(kernel.shape) != tuple(layer.kernel_shape):
        raise ValueError(
            f"The kernel of layer {layer.name!r} must have the shape {layer.kernel_shape}. "
            f"Received: {tuple(kernel.shape)}"
        )
