"""GELU for a training step: its derivative is worked out beside it, in fewer passes over the activations than Keras needs."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

NAMES = ("keras_hub>gelu_approximate",)  # as files name it: what every BERT of keras-hub has between its dense layers


def for_training(activation: Callable[[Any], Any], dtype: str) -> Callable[[Any], Any]:
    """`gelu` where `activation` is keras-hub's in float32, else `activation` itself."""
    known = (
        dtype == "float32" and inspect.isfunction(activation) and keras.saving.get_registered_name(activation) in NAMES
    )
    return gelu if known else activation


def gelu(x: Any) -> Any:
    """The tanh form of GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415), equal to Keras' within rounding.

    With u = sqrt(8 / pi) (x + 0.044715 x^3) and s = sigmoid(u), which is (1 + tanh(u / 2)) / 2:

        y = x s,   dy/dx = s + y (1 - s) du/dx

    Keras' expression takes about twenty passes over arrays of the size of x, there and back, and keeps several of them for
    the way back; this one takes thirteen and keeps the derivative alone.
    """
    return ops.custom_gradient(_gelu)(x)


def _gelu(x: Any) -> Any:
    one = math.sqrt(8 / math.pi)
    cubic = 0.044715 * one
    square = ops.square(x)
    s = ops.sigmoid(ops.multiply(x, ops.add(ops.multiply(square, cubic), one)))
    y = ops.multiply(x, s)
    slope = ops.add(ops.multiply(square, 3 * cubic), one)
    derivative = ops.add(s, ops.multiply(ops.subtract(y, ops.multiply(y, s)), slope))

    def gradient(*args: Any, upstream: Any = None) -> Any:
        return ops.multiply(args[0] if upstream is None else upstream, derivative)

    return y, gradient
