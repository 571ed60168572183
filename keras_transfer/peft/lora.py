"""LoRA: two thin matrices beside a frozen layer, whose product is what it learns."""

import math
from typing import Any

import keras
from keras import ops

from ..core.numbers import count, number
from ..core.registry import register
from .bias import along_channels
from .folded import folded, folds
from .gelu import for_training
from .lora_shapes import KINDS, form_of, is_linear
from .wrapper import Adapter, Injection, add_gated, add_to


@register("lora", kind="injection")
class LoRA(Injection):
    """A frozen layer, and beside it the product of two thin matrices that train.

    Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models (arXiv:2106.09685):

        y = act(x W + bias + s * (dropout(x) A) B),   s = alpha / rank

    with W (inputs, outputs), A (inputs, rank) and B (rank, outputs): `rank * (inputs + outputs)` weights. A is random and
    B zero, so y is the base's at the start. `rslora=True` takes `s = alpha / sqrt(rank)`, which keeps the size of what is
    learned at high ranks (Kalajdzievski 2023, arXiv:2312.03732). The product is taken in this order, and a gradient
    of the size of W is never made; where it gives the same (float32, no dropout), a training step folds `W + s A B` first,
    which is faster; it takes the GELU of keras-hub in fewer passes, too, so that its last digits may differ from `predict`'s.

    Stands around Dense and EinsumDense (an attention's heads count as one matrix, as in the paper), Embedding (A has a row
    a word and starts at zero; the reverse direction, the logits of tied embeddings, stays the base's), Conv1D and Conv2D
    (the window belongs to A), also where the kernel is quantised.

    Settings: `rank` from 1 (to 64, or the kernel's larger side); `alpha` above 0; `dropout`, the share of x's elements that
    A does not see in training, from 0 to below 1; `rslora`; `bias`, "none", "lora_only" (those of these layers move too, as
    a difference to the base's) or "all" (those of every layer do, by "bitfit"). Anything else is a `ValueError`.

    Example: `model = kt.peft.inject(model, "lora", rank=8, alpha=16)`
    """

    def __init__(self, base: keras.layers.Layer, path: str) -> None:
        form = form_of(base)  # which may refuse, and the base is as it was then
        super().__init__(base, path)
        self.form: Any = form
        self.activation: Any = None
        if getattr(base, "activation", None) is not None:
            self.borrow("activation", keras.activations.linear)

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Dense, EinsumDense and their quantised kin, Embedding, Conv1D and Conv2D."""
        return isinstance(layer, KINDS) or is_linear(layer)

    def add_weights(
        self,
        adapter: Adapter,
        *,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        rslora: bool = False,
        bias: str = "none",
    ) -> None:
        """Make A, B and, where it trains, the bias' difference."""
        rank, alpha = self._checked(rank), number("alpha", alpha, above=0)
        adapter.scale = alpha / (math.sqrt(rank) if rslora else rank)
        shapes, initializers = self.form.shapes(rank), self.form.initializers()
        for name, shape, initializer in zip(("lora_a", "lora_b"), shapes, initializers, strict=True):
            adapter.add(name, shape, initializer)
        if bias not in ("none", "lora_only", "all"):
            raise ValueError(f"`bias` must be 'none', 'lora_only' or 'all'. Received: {bias!r}")
        adapter.bias = None
        if bias != "none" and getattr(self.base, "bias", None) is not None:
            adapter.bias = adapter.add("bias", self.base.bias.shape)
        dropout = number("dropout", dropout, least=0, below=1)
        adapter.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy) if dropout else None

    def _checked(self, rank: int) -> int:
        """A rank above both sides of the kernel says nothing more; one from a file could fill the memory."""
        most = max(64, *[math.prod(shape) for shape in self.form.shapes(1)])
        if count("rank", rank) > most:
            raise ValueError(f"`rank` must be at most {most} at layer {self.name!r}. Received: {rank!r}")
        return int(rank)

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The base, and beside it each adapter that is switched on."""
        adapters = self.adapters.values()
        if training and folds(self.base, self.form, x, adapters):
            y = folded(self.base, self.form, x, adapters)
            y = y if self.base.bias is None else ops.add(y, self.base.bias)
            for adapter in adapters:
                y = self._add_bias(y, adapter)
        else:
            y = self.base(x, *args, **kwargs)
            for adapter in adapters if not kwargs.get("reverse") else ():
                y = self._add(y, x, adapter, training)
        if self.activation is None:
            return y
        return (for_training(self.activation, self.compute_dtype) if training else self.activation)(y)

    def _add(self, y: Any, x: Any, adapter: Adapter, training: bool | None) -> Any:
        x = x if adapter.dropout is None else adapter.dropout(x, training=training)
        h = self.form.down(x, adapter.lora_a)
        h = ops.multiply(h, ops.cast(adapter.gate * adapter.scale, h.dtype))
        return self._add_bias(ops.add(y, ops.cast(self.form.up(h, adapter.lora_b), y.dtype)), adapter)

    def _add_bias(self, y: Any, adapter: Adapter) -> Any:
        return (
            y
            if adapter.bias is None
            else add_gated(y, along_channels(self.base, adapter.bias, len(y.shape)), adapter.gate)
        )

    def delta(self, adapter: Adapter) -> Any:
        """What `adapter` adds to the kernel: `s A B`, in the kernel's shape, float32."""
        a, b = (ops.cast(one.value, "float32") for one in (adapter.lora_a, adapter.lora_b))
        return ops.multiply(self.form.delta(a, b), adapter.scale)

    def check_merge(self) -> None:
        """A kernel in whole numbers cannot take an adapter up."""
        self.form.layer = layer = self.innermost  # others may stand between, or it was replaced
        if layer.quantization_mode is not None:
            raise ValueError(
                "A quantised kernel cannot take an adapter up; save or export the injected model as it is. "
                f"Received: layer {self.name!r} quantised as {layer.quantization_mode!r}"
            )

    def merge(self, adapter: Adapter) -> None:
        """`W + s A B` into the base's kernel, and the difference into its bias."""
        add_to(self.form.weight, self.delta(adapter))
        if adapter.bias is not None:
            add_to(self.form.layer.bias, adapter.bias.value)
