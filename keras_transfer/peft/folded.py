"""A training step's product with a frozen kernel and LoRA's matrices in one, whose gradients stay thin."""

import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from .lora_shapes import Linear
from .wrapper import Adapter

PLAIN = (keras.layers.Dense, keras.layers.EinsumDense)


def folds(layer: keras.layers.Layer, form: Any, x: Any, adapters: Iterable[Adapter]) -> bool:
    """Whether a step may take `W + s A B` for the kernel: W is float32 and frozen, A sees all of x, and x is not small."""
    return (
        type(layer) in PLAIN
        and layer.quantization_mode is None
        and layer.compute_dtype == "float32"
        and not layer.kernel.trainable
        and isinstance(form, Linear)
        and form.split.is_matrix
        and not any(adapter.dropout for adapter in adapters)
        and not _is_small(form, x)
    )


def _is_small(form: Linear, x: Any) -> bool:
    """Whether x and y are known to have fewer numbers than W, so that a kernel for the pass would not pay."""
    rows = x.shape[: len(x.shape) - len(form.inputs)]
    inputs, outputs = math.prod(form.inputs), math.prod(form.outputs)
    return None not in rows and math.prod(rows) * (inputs + outputs) < inputs * outputs


def folded(layer: keras.layers.Layer, form: Linear, x: Any, adapters: Iterable[Adapter]) -> Any:
    """`x (W + s A B + ...)`, without the bias.

    Only the thin matrices are differentiated, nothing of the size of W: with h = s x A and g the gradient of the output,
    `dB = h' g`, `dA = s x' (g B')`, `dx = g (W + s A B)'`. The sum over the activations, there and back, which the product
    form needs for every adapter becomes one over W, which is smaller than a batch's activations. The folded kernel is made
    once on the way there and once, lying across as the product wants it, on the way back; it is not kept between the two.
    """
    inputs, outputs = math.prod(form.inputs), math.prod(form.outputs)
    thin = []
    for adapter in adapters:
        a = ops.multiply(adapter.lora_a, adapter.gate * adapter.scale)
        thin += [ops.reshape(a, (inputs, -1)), ops.reshape(adapter.lora_b, (-1, outputs))]
    lead = ops.shape(x)[: len(x.shape) - len(form.inputs)]
    kernel = ops.reshape(layer.kernel, (inputs, outputs))
    y = ops.custom_gradient(_product)(ops.reshape(x, (-1, inputs)), kernel, *thin)
    return ops.reshape(y, (*lead, *form.outputs))


def _product(x: Any, kernel: Any, *thin: Any) -> Any:
    pairs = list(zip(thin[::2], thin[1::2], strict=True))
    folded = kernel
    for a, b in pairs:
        folded = ops.add(folded, ops.matmul(a, b))

    def gradient(*args: Any, upstream: Any = None) -> Any:
        g = args[0] if upstream is None else upstream
        across = ops.transpose(kernel)
        for a, b in pairs:
            across = ops.add(across, ops.matmul(ops.transpose(b), ops.transpose(a)))
        # W is frozen, and what a gradient of this gradient owes to A and B goes through `across`.
        nothing = ops.zeros_like(kernel) if keras.backend.backend() == "jax" else None
        found = [ops.matmul(g, across), nothing]
        for a, b in pairs:
            found.append(ops.matmul(ops.transpose(x), ops.matmul(g, ops.transpose(b))))
            found.append(ops.matmul(ops.transpose(ops.matmul(x, a)), g))
        return tuple(found)

    return ops.matmul(x, folded), gradient
