"""IA3: a learned factor for each feature of the keys, the values and the inside of the feed-forward network."""

from typing import Any

import keras
from keras import ops

from ..core.registry import register
from ..core.selection import named_layers
from .blocks import transformer_blocks
from .lora_shapes import Linear, is_linear
from .targets import ALIASES
from .wrapper import Adapter, Injection


@register("ia3", kind="injection")
class IA3(Injection):
    """A frozen product whose outputs, or whose inputs, are multiplied by a learned vector.

    Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning
    (arXiv:2205.05638): `y = l * (x W + b)` for the keys and the values of every attention, and `y = (l * x) W + b` for the
    last product of every feed-forward network, whose x is its inner layer. l is one at the start, so y is the base's, to
    the bit. A few hundred weights a layer; the paper's rate is 3e-3, far above LoRA's.

    Stands around Dense and EinsumDense whose features are the last axes, quantised or not. Other layers than the paper's,
    named in `where`, have their outputs multiplied; before the activation, where the layer has one.

    Settings: none of yours. `side`, "output" or "input", is what a layer multiplies.

    Example: `model = kt.peft.inject(model, "ia3")`
    """

    rate = 3e-3

    def __init__(self, base: keras.layers.Layer, path: str) -> None:
        form = Linear(base)  # which may refuse, and the base is as it was then
        super().__init__(base, path)
        self.form = form
        self.activation: Any = None
        if getattr(base, "activation", None) is not None:
            self.borrow("activation", keras.activations.linear)

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Products whose inputs and outputs end in their features."""
        if not is_linear(layer) or isinstance(layer, Injection):
            return False
        if isinstance(layer, keras.layers.Dense):
            return True
        given, y = layer.equation.replace(" ", "").split("->")
        x, kernel = given.split(",")
        inputs, outputs = (
            "".join(one for one in kernel if one in mine and one not in other) for mine, other in ((x, y), (y, x))
        )
        return x.endswith(inputs) and y.endswith(outputs) and len(inputs + outputs) == len(kernel)

    @classmethod
    def where_in(cls, model: keras.Model, settings: dict[str, Any]) -> Any:
        """Keys, values, and the last product of each feed-forward network."""
        blocks = transformer_blocks(model)
        names = (*ALIASES["key"], *ALIASES["value"])
        inside = [one for block in blocks for each in block.attentions for one in below(model, each.path)]
        layers = [layer for layer in inside if layer.name in names and cls.handles(layer)]
        return layers + [one.layer for block in blocks for one in block.feedforward_outputs]

    @classmethod
    def spread(cls, model: keras.Model, layers: list[Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Inputs for what ends a feed-forward network, outputs for the rest."""
        try:
            ends = {id(one.layer) for block in transformer_blocks(model) for one in block.feedforward_outputs}
        except ValueError:  # no transformer: the user has named the layers
            ends = set()
        return [{"side": "input" if id(one) in ends else "output"} for one in layers]

    def add_weights(self, adapter: Adapter, *, side: str = "output") -> None:
        """Make the vector of factors."""
        if side not in ("input", "output"):
            raise ValueError(f"`side` must be 'input' or 'output'. Received: {side!r}")
        adapter.side = side
        adapter.add("scale", self.form.inputs if side == "input" else self.form.outputs, "ones")

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The base between the factors that are switched on."""
        for adapter in self.adapters.values():
            x = self._scaled(x, adapter) if adapter.side == "input" else x
        y = self.base(x, *args, **kwargs)
        for adapter in self.adapters.values():
            y = self._scaled(y, adapter) if adapter.side == "output" else y
        return y if self.activation is None else self.activation(y)

    def _scaled(self, x: Any, adapter: Adapter) -> Any:
        return ops.multiply(x, ops.cast(1 + adapter.gate * (adapter.scale - 1), x.dtype))

    def check_merge(self) -> None:
        """A kernel in whole numbers cannot take factors up."""
        if (mode := self.innermost.quantization_mode) is not None:  # type: ignore[attr-defined]
            raise ValueError(
                "A quantised kernel cannot take an adapter up; save or export the injected model as it is. "
                f"Received: layer {self.name!r} quantised as {mode!r}"
            )

    def merge(self, adapter: Adapter) -> None:
        """The factors into the rows or the columns of the kernel, and those of the outputs into the bias."""
        axes = self.form.split.a_axes if adapter.side == "input" else self.form.split.b_axes
        shape = [1] * len(self.base.kernel.shape)
        for size, axis in zip(adapter.scale.shape, axes, strict=True):
            shape[axis] = size
        kernel, scale = self.form.weight, adapter.scale.value
        kernel.assign(ops.multiply(kernel.value, ops.cast(ops.reshape(scale, shape), kernel.dtype)))
        if adapter.side == "output" and self.base.bias is not None:
            bias = self.base.bias
            bias.assign(ops.multiply(bias.value, ops.cast(ops.broadcast_to(scale, bias.shape), bias.dtype)))


def below(model: keras.Model, path: str) -> list[Any]:
    """The layers of the base below a path."""
    return [one for at, one in named_layers(model) if at.startswith(f"{path}/") and not isinstance(one, Injection)]
