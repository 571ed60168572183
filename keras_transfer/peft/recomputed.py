"""A product with a kernel that is made anew in the backward pass, so that nobody keeps it in between."""

from typing import Any

import keras
from keras import ops


def product(layer: Any, inputs: Any) -> Any:
    """`inputs` times the layer's kernel, the kernel made anew in the backward pass instead of kept for it."""
    if isinstance(layer, keras.layers.EinsumDense):
        given, out = layer.equation.replace(" ", "").split("->")
        given, weights = given.split(",")
        forward = lambda x: ops.einsum(layer.equation, x, layer.kernel)  # noqa: E731
        backward = lambda y: ops.einsum(f"{out},{weights}->{given}", y, layer.kernel)  # noqa: E731
        if set(given) - set(out) - set(weights):
            return forward(inputs)  # an axis that is summed away alone: no such product leads back
    else:
        forward = lambda x: ops.matmul(x, layer.kernel)  # noqa: E731
        backward = lambda y: ops.matmul(y, ops.transpose(layer.kernel))  # noqa: E731
    if keras.config.backend() == "jax":  # whose compiler would find the two kernels equal, and keep the first
        return keras.remat(forward)(inputs)

    @ops.custom_gradient
    def multiply(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return backward(args[0] if upstream is None else upstream)

        return forward(x), gradient

    return multiply(inputs)
