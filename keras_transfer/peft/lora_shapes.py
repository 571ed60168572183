"""Where LoRA's two matrices stand: for each kind of layer their shapes, their product with x, and the kernel they make."""

import math
import string
from typing import Any, NamedTuple

import keras
from keras import ops

KINDS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
)


class Split(NamedTuple):
    """An einsum `x, kernel -> y` in two steps through the rank axis: `x, A -> h` and `h, B -> y`; and `A, B -> kernel`."""

    down: str
    up: str
    whole: str
    a_axes: tuple[int, ...]  # the axes of the kernel that A has before the rank
    b_axes: tuple[int, ...]  # the axes that B has after the rank (and after those that both have)
    both: tuple[int, ...]  # the axes of the kernel that x and y have too: one pair of matrices for each

    @property
    def is_matrix(self) -> bool:
        """Whether the kernel is a matrix as it lies there: x ends in its rows, and y in its columns."""
        (x, a), (_, b) = self.down.split("->")[0].split(","), self.up.split("->")[0].split(",")
        y = self.up.split("->")[1]
        ends = x.endswith(a[:-1]) and y.endswith(b[1:]) and x.removesuffix(a[:-1]) == y.removesuffix(b[1:])
        return ends and not self.both and self.a_axes + self.b_axes == (*range(len(self.a_axes + self.b_axes)),)


def split_equation(equation: str) -> Split:
    """Split `"abc,cde->abde"` into `"abc,cr->abr"` and `"abr,rde->abde"`: contracted axes to A, output axes to B.

    So a query kernel (768, 12, 64) has A (768, r) and B (r, 12, 64), as in the paper, where the heads are one matrix. An
    axis that the input and the output have too (experts, groups) stands in both. Raises `ValueError` for an axis that only
    the kernel has.
    """
    given, y = equation.replace(" ", "").split("->")
    x, kernel = given.split(",")
    letters = [letter for letter in kernel if letter != "."]
    contracted = [letter for letter in letters if letter in x and letter not in y]
    out = [letter for letter in letters if letter in y and letter not in x]
    both = [letter for letter in letters if letter in x and letter in y]
    if "." in kernel or len(contracted) + len(out) + len(both) != len(letters) or not contracted or not out:
        raise ValueError(
            "LoRA needs a product whose kernel has axes that are summed over and axes that come new, and no others. "
            f"Received: equation {equation!r}"
        )
    r = next(letter for letter in "rzyxwvutsqponmlkjihgfedcba" if letter not in equation)
    inner = [*[letter for letter in x if letter not in contracted], r]
    a, b = [*both, *contracted, r], [*both, r, *out]
    h, a_text, b_text = ("".join(part) for part in (inner, a, b))
    axes = {letter: axis for axis, letter in enumerate(kernel)}
    return Split(
        f"{x},{a_text}->{h}",
        f"{h},{b_text}->{y}",
        f"{a_text},{b_text}->{kernel}",
        tuple(axes[letter] for letter in contracted),
        tuple(axes[letter] for letter in out),
        tuple(axes[letter] for letter in both),
    )


def spelt(equation: str, x: Any) -> str:
    """`equation` with a letter for each axis of x that `...` stands for, with which TensorFlow is three times as fast."""
    if "..." not in equation:
        return equation
    more = len(x.shape) - len(equation.split(",")[0].replace("...", ""))
    free = [letter for letter in string.ascii_letters if letter not in equation]
    return equation.replace("...", "".join(free[:more]))


class Linear:
    """Dense, EinsumDense, and every layer that says its `equation` and `kernel_shape`, as a quantised one does."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
        dense = isinstance(layer, keras.layers.Dense)
        self.split = split_equation("...i,io->...o" if dense else layer.equation)
        shape = kernel_shape(layer)
        take = [tuple(shape[axis] for axis in axes) for axes in (self.split.both, self.split.a_axes, self.split.b_axes)]
        self.both, self.inputs, self.outputs = take

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of A and B."""
        return (*self.both, *self.inputs, rank), (*self.both, rank, *self.outputs)

    def initializers(self) -> tuple[Any, Any]:
        """A uniform within 1 / sqrt(fan-in), as in HF PEFT (Kaiming with a = sqrt(5)), and B zero."""
        limit = float(_product(self.inputs)) ** -0.5
        return keras.initializers.RandomUniform(-limit, limit), "zeros"

    def down(self, x: Any, a: Any) -> Any:
        """`x A`."""
        return ops.einsum(spelt(self.split.down, x), x, a)

    def up(self, h: Any, b: Any) -> Any:
        """`h B`."""
        return ops.einsum(spelt(self.split.up, h), h, b)

    def delta(self, a: Any, b: Any) -> Any:
        """`A B` in the shape of the kernel."""
        return ops.einsum(self.split.whole, a, b)

    @property
    def weight(self) -> keras.Variable:
        """The kernel that `delta` is added to."""
        return self.layer.kernel


class Lookup:
    """Embedding: row i of A, times B; A is zero at the start, because a lookup has no sum over the inputs."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of A and B."""
        return (self.layer.input_dim, rank), (rank, self.layer.output_dim)

    def initializers(self) -> tuple[Any, Any]:
        """A zero and B normal, as in HF PEFT."""
        return "zeros", keras.initializers.RandomNormal(stddev=1.0)

    def down(self, x: Any, a: Any) -> Any:
        """The rows of A."""
        return ops.take(a, ops.cast(x, "int32"), axis=0)

    def up(self, h: Any, b: Any) -> Any:
        """`h B`."""
        return ops.matmul(h, b)

    def delta(self, a: Any, b: Any) -> Any:
        """`A B`, what is added to the embeddings."""
        return ops.matmul(a, b)

    @property
    def weight(self) -> keras.Variable:
        """The embeddings."""
        return self.layer.embeddings


class Convolution:
    """Conv1D and Conv2D: A is a convolution of the same window to `rank` channels, B one of window 1 to the outputs."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
        if layer.groups != 1:
            raise ValueError(
                "LoRA needs a convolution whose every output sees every input channel; leave grouped ones out of `where`. "
                f"Received: layer {layer.name!r} with groups={layer.groups}"
            )

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of A and B."""
        *window, inputs, outputs = self.layer.kernel.shape
        return (*window, inputs, rank), (*[1] * len(window), rank, outputs)

    def initializers(self) -> tuple[Any, Any]:
        """A uniform within 1 / sqrt(fan-in), B zero."""
        limit = float(_product(self.layer.kernel.shape[:-1])) ** -0.5
        return keras.initializers.RandomUniform(-limit, limit), "zeros"

    def down(self, x: Any, a: Any) -> Any:
        """The convolution to `rank` channels, moved and padded as the layer's own."""
        layer, padding = self.layer, self.layer.padding
        if padding == "causal":
            left = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
            last = layer.data_format == "channels_last"
            x, padding = ops.pad(x, [[0, 0], [left, 0], [0, 0]] if last else [[0, 0], [0, 0], [left, 0]]), "valid"
        return ops.conv(x, a, list(layer.strides), padding, layer.data_format, layer.dilation_rate)

    def up(self, h: Any, b: Any) -> Any:
        """The convolution of window 1 to the layer's channels."""
        return ops.conv(h, b, 1, "valid", self.layer.data_format)

    def delta(self, a: Any, b: Any) -> Any:
        """`A B` over the channels, for each place of the window."""
        return ops.matmul(a, ops.squeeze(b, axis=tuple(range(len(b.shape) - 2))))

    @property
    def weight(self) -> keras.Variable:
        """The kernel."""
        return self.layer.kernel


def is_linear(layer: Any) -> bool:
    """Whether a layer is a product with a kernel: Dense, EinsumDense, or one with an `equation` and a `kernel_shape`."""
    plain = isinstance(layer, (keras.layers.Dense, keras.layers.EinsumDense))
    return plain or (hasattr(layer, "equation") and hasattr(layer, "kernel_shape"))


def kernel_shape(layer: Any) -> tuple[int, ...]:
    """The shape of a linear layer's kernel as it was before it was quantised: int4 packs two rows into one."""
    if hasattr(layer, "kernel_shape"):
        return tuple(layer.kernel_shape)
    if isinstance(layer, keras.layers.Dense):
        return (layer.input_spec.axes[-1], layer.units)
    return tuple(getattr(layer, "original_kernel_shape", None) or layer.kernel.shape)


def form_of(layer: keras.layers.Layer) -> Linear | Lookup | Convolution:
    """How LoRA stands around `layer`."""
    if isinstance(layer, keras.layers.Embedding):
        return Lookup(layer)
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D)):
        return Convolution(layer)
    return Linear(layer)


def _product(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
