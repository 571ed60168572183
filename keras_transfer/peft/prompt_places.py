"""Where a prompt meets a model: its blocks, and the embeddings of tokens, positions and segments."""

import inspect
from typing import Any

import keras

from ..core.selection import named_layers
from ..core.surgery import functional, steps, walk
from .blocks import is_attention, transformer_blocks
from .wrapper import Injection

MASKS = ("padding_mask", "decoder_padding_mask")
EMBEDDINGS = {"token_embedding": "tokens", "position_embedding": "positions", "segment_embedding": "segments"}


def kind_of(layer: Any) -> str:
    """`"block"`, `"tokens"`, `"positions"`, `"segments"`, or nothing of these."""
    while isinstance(layer, Injection):
        layer = layer.base
    if layer.name in EMBEDDINGS and "Embedding" in type(layer).__name__:
        return EMBEDDINGS[layer.name]
    inside = [one for one in walk(layer) if is_attention(one)]
    takes = inspect.signature(layer.call).parameters
    return "block" if inside and not is_attention(layer) and any(name in takes for name in MASKS) else ""


def is_place(layer: Any) -> bool:
    """Whether a prompt has to do with `layer`."""
    return bool(kind_of(layer)) and not isinstance(layer, keras.Model)


def graphs(model: keras.Model) -> list[keras.Model]:
    """The graphs in `model`, its own and those of models inside."""
    found = [functional(one) for one in walk(model) if isinstance(one, keras.Model)]
    return [one for one in found if one is not None]


def places_of(model: keras.Model, at: str) -> list[Any]:
    """The layers of `model` at which a prompt is held, given room, or cut off; `ValueError` for a model that has no such."""
    blocks = transformer_blocks(model)
    running = [step.operation for graph in graphs(model) for step in steps(graph)]
    for block in blocks:
        once = sum(one is _outermost(model, block.layer) for one in running) == 1
        if len(block.attentions) > 1 or not once or kind_of(block.layer) != "block":
            raise ValueError(
                "Prompt tuning takes a model that is one chain of blocks with a padding mask, each run once; take 'lora' for this "
                f"one. Received: {type(block.layer).__name__} at {block.path!r}"
            )
    wanted = [block.layer for block in blocks]
    if at == "tokens":
        layers = [layer for _, layer in named_layers(model) if not isinstance(layer, Injection)]
        wanted += [one for one in layers if kind_of(one) in EMBEDDINGS.values()]
        if sum(kind_of(one) == "tokens" for one in wanted) != 1:
            raise ValueError(
                "`at='tokens'` needs a model with one layer 'token_embedding'; take `at='embeddings'`. "
                f"Received: model {model.name!r}"
            )
    return wanted


def _outermost(model: keras.Model, layer: Any) -> Any:
    """What runs in the place of `layer`: the outermost injection around it."""
    for _, one in named_layers(model):
        inside = one
        while isinstance(inside, Injection):
            inside = inside.base
        if inside is layer:
            return one
    return layer


def parts_of(layers: list[Any], at: str, pool: str) -> list[str]:
    """What the prompt does at each of `layers`, which come in the model's order."""
    kinds = [kind_of(one) for one in layers]
    blocks = [place for place, kind in enumerate(kinds) if kind == "block"]
    parts = [[kind] for kind in kinds]
    parts[blocks[0] if at == "embeddings" else kinds.index("tokens")].append("hold")
    parts[blocks[-1]].append("cut" if pool == "text" else "turn")
    return ["+".join(some) for some in parts]
