"""A product with a kernel that is made when it is needed, and made anew in the backward pass, so that nobody keeps it."""

from typing import Any

import keras
from keras import ops


def product(layer: Any, inputs: Any, training: bool | None = None) -> Any:
    """`inputs` times what `layer.kernel_after` gives, in the equation of a Dense or an EinsumDense.

    In training each kernel waits for what it is multiplied with: the inputs, then the gradient that comes back. Without
    that a graph is free to make all kernels of a model at its start, or to find the second one equal to the first and
    keep it. Otherwise kernels wait for nothing, so that an export can fold them.
    """
    if isinstance(layer, keras.layers.EinsumDense):
        given, out = layer.equation.replace(" ", "").split("->")
        given, weights = given.split(",")
        if set(given) - set(out) - set(weights) - {"."}:  # an axis that is summed away alone: no product leads back
            return ops.einsum(layer.equation, inputs, layer.kernel_after(inputs if training else None))
        forth, back = layer.equation, f"{out},{weights}->{given}"
    else:
        forth, back = "...i,io->...o", "...o,io->...i"

    def multiply(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return _product(back, upstream, layer.kernel_after(upstream))

        return _product(forth, x, layer.kernel_after(x if training else None)), gradient

    return ops.custom_gradient(multiply)(inputs)


def _product(equation: str, x: Any, kernel: Any) -> Any:
    """An einsum; of a Dense the plain product, which is faster."""
    if equation == "...i,io->...o":
        return ops.matmul(x, kernel)
    return ops.matmul(x, ops.transpose(kernel)) if equation == "...o,io->...i" else ops.einsum(equation, x, kernel)


def after(codes: Any, tensor: Any) -> Any:
    """`codes`, but not before `tensor` is there: nothing is read of it that could change them, unless it is infinite."""
    nothing = ops.cast(ops.any(ops.isinf(tensor[..., 0])), codes.dtype)
    return ops.bitwise_or(codes, nothing)
