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
    form needs for every adapter becomes one over W, which is smaller than a batch's activations; until the gradients are
    there, the folded kernel takes as much memory as W.
    """
    inputs, outputs = math.prod(form.inputs), math.prod(form.outputs)
    kernel, thin = ops.reshape(layer.kernel, (inputs, outputs)), []
    for adapter in adapters:
        a = ops.reshape(ops.multiply(adapter.lora_a, adapter.gate * adapter.scale), (inputs, -1))
        thin += [a, ops.reshape(adapter.lora_b, (-1, outputs))]
        kernel = ops.add(kernel, ops.matmul(*thin[-2:]))
    lead = ops.shape(x)[: len(x.shape) - len(form.inputs)]
    y = ops.custom_gradient(_product)(ops.reshape(x, (-1, inputs)), kernel, *thin)
    return ops.reshape(y, (*lead, *form.outputs))


def _product(x: Any, kernel: Any, *thin: Any) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> Any:
        g = args[0] if upstream is None else upstream
        # What the kernel owes to A and B they get themselves; a gradient of this gradient goes through it.
        nothing = ops.zeros_like(kernel) if keras.backend.backend() == "jax" else None
        found = [ops.matmul(g, ops.transpose(kernel)), nothing]
        for a, b in zip(thin[::2], thin[1::2], strict=True):
            found.append(ops.matmul(ops.transpose(x), ops.matmul(g, ops.transpose(b))))
            found.append(ops.matmul(ops.transpose(ops.matmul(x, a)), g))
        return tuple(found)

    return ops.matmul(x, kernel), gradient
