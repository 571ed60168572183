"""DoRA: LoRA for the direction of a kernel's columns, and a magnitude that learns on its own."""

from typing import Any

import keras
from keras import ops

from ..core.registry import register
from ..core.training import stored_values
from .lora import LoRA
from .lora_shapes import is_linear, split_equation
from .wrapper import Adapter, Injection


@register("dora", kind="injection")
class DoRA(LoRA):
    """A frozen product whose columns are turned by LoRA, and whose lengths are weights of their own.

    Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation (arXiv:2402.09353), with s, A and B as in LoRA and the norm
    taken over the inputs, for each output:

        y = act(c * (x W + s * (dropout(x) A) B) + bias),   c = m / ||W + s A B||

    m starts as ||W||, so that c is 1 and y the base's. No gradient goes through the norm (section 4.3 of the paper), and no
    kernel W + A B is made for it: `||W + s A B||^2 = ||W||^2 + 2 s <W, A B> + s^2 ||A B||^2`. `rank * (inputs + outputs) +
    outputs` weights.

    Stands around Dense and EinsumDense, quantised or not. One adapter at a time counts in `merge`: each is a length of the base's.

    Settings: `rank`, `alpha`, `dropout` and `rslora` of `LoRA`.

    Example: `model = kt.peft.inject(model, "dora", rank=8, alpha=16)`
    """

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Products with a kernel, each of whose axes is either an input or an output; what comes out ends in the outputs."""
        if not is_linear(layer):
            return False
        if isinstance(layer, keras.layers.Dense):
            return True
        split = split_equation(layer.equation)
        (_, b), y = split.up.split("->")[0].split(","), split.up.split("->")[1]
        return not split.both and y.endswith(b[1:])

    def add_weights(  # type: ignore[override]
        self, adapter: Adapter, *, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, rslora: bool = False
    ) -> None:
        """Make A, B and the magnitude."""
        super().add_weights(adapter, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora)
        adapter.add("magnitude", self.form.outputs, "ones")
        adapter.magnitude.assign(self.norm(adapter))

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The base, and what turning and stretching its columns changes."""
        y = base = self.base(x, *args, **kwargs)
        whole = base if self.base.bias is None else ops.subtract(base, self.base.bias)
        for adapter in self.adapters.values():
            c = ops.divide(adapter.magnitude, ops.cast(ops.stop_gradient(self.norm(adapter)), adapter.magnitude.dtype))
            turned = self._add(ops.zeros_like(base), x, adapter, training)
            stretched = ops.multiply(ops.cast(ops.multiply(c - 1, adapter.gate), whole.dtype), whole)
            y = ops.add(ops.add(y, stretched), ops.multiply(ops.cast(c, turned.dtype), turned))
        return y if self.activation is None else self.activation(y)

    def norm(self, adapter: Adapter) -> Any:
        """||W + s A B|| for each output, float32."""
        a, b = (ops.cast(one, "float32") for one in stored_values([adapter.lora_a, adapter.lora_b]))
        kernel = self.base.kernel  # of a quantised layer a tensor
        kernel = stored_values([kernel])[0] if isinstance(kernel, keras.Variable) else kernel
        kernel = ops.cast(kernel, "float32")
        left, whole = self.form.split.whole.split("->")
        a_axes, b_axes = left.split(",")
        both = ops.sum(ops.multiply(ops.einsum(f"{whole},{a_axes}->{b_axes}", kernel, a), b), axis=0)
        flat, wide = ops.reshape(a, (-1, a.shape[-1])), ops.reshape(b, (b.shape[0], -1))
        inner = ops.matmul(ops.matmul(ops.transpose(flat), flat), wide)
        low = ops.reshape(ops.sum(ops.multiply(inner, wide), axis=0), self.form.outputs)
        high = ops.sum(ops.square(kernel), axis=self.form.split.a_axes)
        s = adapter.scale
        return ops.sqrt(ops.maximum(high + 2 * s * both + s * s * low, 1e-12))

    def check_merge(self) -> None:
        """As LoRA's; and two directions cannot both be the kernel's."""
        super().check_merge()
        on = [name for name, one in self.adapters.items() if not one.idle]
        if len(on) > 1:
            raise ValueError(f"Only one 'dora' adapter can be merged; `activate` one. Received: {on}")
        inside = self.base
        while isinstance(
            inside, Injection
        ):  # it is stretched with the kernel, of whose length the magnitude knows nothing
            if others := [name for name, one in inside.adapters.items() if not one.idle]:
                raise ValueError(
                    "A 'dora' adapter cannot be merged over others that were injected after it; `activate` it alone. "
                    f"Received: {others} at layer {self.name!r}"
                )
            inside = inside.base

    def merge(self, adapter: Adapter) -> None:
        """`c (W + s A B)` into the kernel."""
        c = ops.divide(ops.cast(adapter.magnitude.value, "float32"), self.norm(adapter))
        column = [1] * len(self.base.kernel.shape)
        for size, axis in zip(self.form.outputs, self.form.split.b_axes, strict=True):
            column[axis] = size
        weight = self.form.weight
        kernel = ops.add(ops.cast(weight.value, "float32"), self.delta(adapter))
        weight.assign(ops.cast(ops.multiply(kernel, ops.reshape(c, column)), weight.dtype))
