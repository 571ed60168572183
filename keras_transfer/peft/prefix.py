"""Prefix tuning: learned keys and values in front of those of every attention."""

from typing import Any

import keras
from keras import ops

from ..core.numbers import count, number
from ..core.registry import register
from ..core.selection import named_layers
from ..core.surgery import attend
from .blocks import is_attention
from .wrapper import Adapter, Injection


@register("prefix", kind="injection")
class PrefixTuning(Injection):
    """A frozen attention whose every query sees `length` learned keys and values in front of the sequence's own.

    Li & Liang 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation (arXiv:2101.00190):

        y = attention(Q, [P_K; K], [P_V; V]),   mask = [1; mask]

    with P_K and P_V (length, heads, width of a head) for each layer: `2 * length * hidden` weights a layer. No query is
    kept from the prefix; padding stays masked. `width` above 0 trains through the paper's network, an embedding (length,
    hidden) and two matrices, `P = tanh(E W_1 + b_1) W_2 + b_2`; 0 trains P_K and P_V themselves.

    Not the base at the start: a prefix takes part of every query's attention from the first step (P is normal with
    `scale`; P_V is zero). Stands around `keras.layers.MultiHeadAttention` itself (BERT, DistilBERT, RoBERTa, ALBERT, ViT);
    others compute their keys inside, and are refused by name: take "lora" there. A prefix cannot be merged.

    Settings: `length` from 1; `width` from 0; `scale` above 0.

    Example: `model = kt.peft.inject(model, "prefix", length=20)`
    """

    rate = 1e-2
    identity = False
    can_merge = False
    merge_help = (
        "save or export the injected model as it is: a prefix is keys and values, and no layer has weights for them"
    )

    @classmethod
    def where_in(cls, model: keras.Model, settings: dict[str, Any]) -> Any:
        """Every attention; one of another kind is refused."""
        found = [one for one in named_layers(model) if is_attention(one.layer)]
        if not found:
            raise ValueError(f"The model has no attention to put a prefix in front of. Received: model {model.name!r}")
        for path, layer in found:
            if not cls.handles(layer):
                raise ValueError(
                    "Prefix tuning takes keras.layers.MultiHeadAttention; other attentions make their keys inside. Take "
                    f"'lora' for this model. Received: {type(layer).__name__} at {path!r}"
                )
        return [one.layer for one in found]

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """`MultiHeadAttention` itself, without a gate."""
        return type(layer) is keras.layers.MultiHeadAttention and not layer.get_config().get("use_gate")

    def add_weights(self, adapter: Adapter, *, length: int = 20, width: int = 0, scale: float = 0.02) -> None:
        """Make the prefix' keys and values, or the network that gives them."""
        length, width = count("length", length), count("width", width, least=0)
        normal = keras.initializers.RandomNormal(stddev=number("scale", scale, above=0))
        heads, key_size, value_size = self.base.num_heads, self.base.key_dim, self.base.value_dim
        adapter.shapes = ((length, heads, key_size), (length, heads, value_size))
        if not width:
            adapter.add("key", adapter.shapes[0], normal)
            adapter.add("value", adapter.shapes[1])
            return
        hidden = heads * key_size
        adapter.add("embedding", (length, hidden), keras.initializers.RandomNormal(stddev=1.0))
        adapter.add("in_kernel", (hidden, width), "glorot_uniform")
        adapter.add("in_bias", (width,))
        adapter.add("out_kernel", (width, heads * (key_size + value_size)), normal)
        adapter.add("out_bias", (heads * (key_size + value_size),))

    def prefix(self, adapter: Adapter) -> tuple[Any, Any]:
        """Keys and values of one adapter, (length, heads, size)."""
        if hasattr(adapter, "key"):
            return adapter.key, adapter.value
        inner = ops.tanh(ops.add(ops.matmul(adapter.embedding, adapter.in_kernel), adapter.in_bias))
        both = ops.add(ops.matmul(inner, adapter.out_kernel), adapter.out_bias)
        cut = self.base.num_heads * self.base.key_dim
        keys, values = adapter.shapes
        return ops.reshape(both[:, :cut], keys), ops.reshape(both[:, cut:], values)

    def call(self, query: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The attention over the prefixes that are switched on and the sequence."""
        adapters = [one for one in self.adapters.values() if not is_off(one)]
        if not adapters:
            return self.base(query, *args, **kwargs)
        parts = [self.prefix(one) for one in adapters]
        gates = [ops.broadcast_to(one.gate, (one.shapes[0][0],)) for one in adapters]
        keys, values = (
            ops.concatenate([ops.cast(part[place], self.compute_dtype) for part in parts]) for place in (0, 1)
        )
        return attend(
            self.base, query, *args, front=(keys, values, ops.concatenate(gates)), training=training, **kwargs
        )


def is_off(adapter: Adapter) -> bool:
    """Whether a gate is known to be 0 now: outside a traced function, where the base alone then answers, to the bit."""
    try:
        return adapter.idle
    except Exception:  # each backend has its own for a value that is only known later
        return False
