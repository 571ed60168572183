"""Bottleneck adapters: a narrow network after a sublayer, added to what the sublayer says."""

from typing import Any

import keras
from keras import ops

from ..core.numbers import count, number
from ..core.registry import register
from ..core.selection import NamedLayer
from .blocks import Block, transformer_blocks, width_of
from .lora_shapes import is_linear
from .wrapper import Adapter, Injection, add_gated


@register("houlsby", kind="injection")
class Bottleneck(Injection):
    """A frozen sublayer of a transformer, and after it a narrow network, down and up again, whose output is added.

    Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP (arXiv:1902.00751), after the attention and after the
    feed-forward network of every block:

        h = sublayer(x),   y = h + act(h D + b_D) U + b_U

    with D (width, bottleneck) and U (bottleneck, width): `2 * width * bottleneck + width + bottleneck` weights each. D is
    random, U and the biases are zero, so y is h at the start. It stands directly after the sublayer's last product, before
    dropout, residual and normalisation (the authors' code has dropout before it). The authors train the normalisations too;
    here they stay as they are.

    Stands around Dense and EinsumDense whose output has one axis of features, the last. There is nothing to merge: the
    network is not linear, and stays.

    Settings: `bottleneck` from 1; `activation`, a name of Keras; `dropout` on the narrow layer, from 0 to below 1.

    Example: `model = kt.peft.inject(model, "houlsby", bottleneck=64)`
    """

    can_merge = False
    merge_help = "save or export the injected model as it is: its extra layers are ordinary ones"

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Dense and EinsumDense, quantised or not, that put out one axis of features."""
        return is_linear(layer) and not isinstance(layer, Injection) and width_of(layer) is not None

    @classmethod
    def where_in(cls, model: keras.Model, settings: dict[str, Any]) -> Any:
        """The last product of each sublayer, by the model's anatomy."""
        return [one.layer for block in transformer_blocks(model) for one in cls.ends(block)]

    @classmethod
    def ends(cls, block: Block) -> list[NamedLayer]:
        """After which products of a block an adapter stands."""
        return [*block.attention_outputs, *block.feedforward_outputs]

    def add_weights(
        self, adapter: Adapter, *, bottleneck: int = 64, activation: str = "gelu", dropout: float = 0.0
    ) -> None:
        """Make D, U and their biases."""
        bottleneck, width = count("bottleneck", bottleneck), width_of(self.base)
        assert width is not None  # `handles` has seen to it
        adapter.activation = keras.activations.get(activation)
        adapter.add("down", (width, bottleneck), "he_normal")
        adapter.add("down_bias", (bottleneck,))
        adapter.add("up", (bottleneck, width))
        adapter.add("up_bias", (width,))
        dropout = number("dropout", dropout, least=0, below=1)
        adapter.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy) if dropout else None

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The sublayer's output, and what each adapter adds to it."""
        h = y = self.base(x, *args, **kwargs)
        for adapter in self.adapters.values():
            narrow = adapter.activation(ops.add(ops.matmul(h, adapter.down), adapter.down_bias))
            if adapter.dropout is not None:
                narrow = adapter.dropout(narrow, training=training)
            y = add_gated(y, ops.add(ops.matmul(narrow, adapter.up), adapter.up_bias), adapter.gate)
        return y


@register("pfeiffer", kind="injection")
class FeedForwardBottleneck(Bottleneck):
    """One bottleneck adapter a block, after its feed-forward network: half the weights of `"houlsby"`.

    Pfeiffer et al. 2021, AdapterFusion: Non-Destructive Task Composition for Transfer Learning (arXiv:2005.00247), where it
    did as well as two. The formula, the settings and the errors are those of `Bottleneck`; the authors' code puts the
    adapter behind the block's last normalisation, here it stands before the residual, as the other's do.

    Example: `model = kt.peft.inject(model, "pfeiffer", bottleneck=48)`
    """

    @classmethod
    def ends(cls, block: Block) -> list[NamedLayer]:
        """The feed-forward network's last product."""
        return block.feedforward_outputs
