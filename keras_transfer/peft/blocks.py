"""The anatomy of a transformer: its blocks, their attentions, and the last product of each sublayer."""

from typing import Any, NamedTuple

import keras

from ..core.selection import NamedLayer, named_layers
from ..core.surgery import sublayers, walk
from .lora_shapes import is_linear, kernel_shape
from .wrapper import Injection

QUERIES = ("query", "qkv", "c_attn", "q_proj")


class Block(NamedTuple):
    """A transformer block: the layer that owns an attention, the attentions, and what ends its sublayers."""

    path: str
    layer: keras.layers.Layer
    attentions: list[NamedLayer]
    attention_outputs: list[NamedLayer]
    feedforward_outputs: list[NamedLayer]


def is_attention(layer: Any) -> bool:
    """Whether a layer is an attention: its class is called so, and it makes a query itself."""
    inside = [one.name for one in sublayers(layer)] if "attention" in type(layer).__name__.lower() else []
    return any(word in name for name in inside for word in QUERIES)


def transformer_blocks(model: keras.Model) -> list[Block]:
    """The transformer blocks of `model`, in the order in which it made them.

    A sublayer ends with the last product that it owns: an attention with its output, a block with its feed-forward's.
    Raises `ValueError` where the model has none.
    """
    named = named_layers(model)
    by_path = {one.path: one for one in named}
    owners: dict[str, list[NamedLayer]] = {}
    for one in named:
        if is_attention(one.layer):
            owner = one.path.rpartition("/")[0]
            while owner in by_path and isinstance(by_path[owner].layer, Injection):  # that stands around the attention
                owner = owner.rpartition("/")[0]
            if owner in by_path:
                owners.setdefault(owner, []).append(one)
    blocks = []
    for path, attentions in owners.items():
        below = [one for one in named if one.path.startswith(f"{path}/") and not isinstance(one.layer, Injection)]
        below = [one for one in below if is_linear(one.layer)]
        inside = [[one for one in below if one.path.startswith(f"{each.path}/")] for each in attentions]
        outside = [one for one in below if not any(one in some for some in inside)]
        ends = [some[-1] for some in inside if some]
        blocks.append(Block(path, by_path[path].layer, attentions, ends, outside[-1:]))
    if not blocks:
        raise ValueError(
            "No transformer block that we know is in the model; say which layers in `where`. "
            f"Received: model {model.name!r}"
        )
    return blocks


def width_of(layer: Any) -> int | None:
    """The features that a linear layer puts out in its last axis; None where they fill several axes."""
    if isinstance(layer, keras.layers.Dense):
        return layer.units
    given, out = layer.equation.replace(" ", "").split("->")
    x, kernel = given.split(",")
    new = [letter for letter in out if letter in kernel and letter not in x]
    return kernel_shape(layer)[kernel.index(out[-1])] if new == [out[-1]] else None


def hidden_width(block: keras.layers.Layer) -> int:
    """How wide the vectors are that a block takes and gives: what its last product puts out."""
    last = [one for one in walk(block) if is_linear(one) and not isinstance(one, Injection)][-1]
    width = width_of(last)
    assert width is not None
    return width
