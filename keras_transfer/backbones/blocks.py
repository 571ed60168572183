"""The blocks of a backbone, for `top:N`: by the catalogue's patterns for known families, by one rule for all others."""

import collections
import functools
import re

import keras

from ..core.selection import register_finder
from ..core.surgery import functional, own_variables, steps, sublayers
from .catalog import known, names

_NORMALISATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.Normalization,
    keras.layers.RMSNormalization,
)


def find_blocks(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """The blocks of a backbone, or of the backbone inside a model, from input to output.

    Every layer with weights is in one block, layers without weights in none. In a family of the catalogue a block is
    what its paper calls one (a bottleneck, a depthwise-separable pair, a cell); the convolutions before and behind them
    are blocks of their own. Elsewhere every layer with weights starts a block, unless it runs side by side with the one
    before it (the branches of an Inception module, a residual and its shortcut). A normalisation belongs to the block
    before it. A layer that holds layers is one block with all that is in it; a stack of equal ones (the encoder of a
    Vision Transformer) is a block for each. The backbone inside a model is the layer of that name, else the model in it
    that holds most of the weights, else the model without its head.

    Example: `[layer.name for layer in find_blocks(model)[-1]]` gives `["Conv_1", "Conv_1_bn"]` for MobileNetV2.
    """
    inner = inner_model(model)
    tops = [layer for layer in sublayers(inner) if layer.weights]
    if inner is model:
        tops = tops[: len(tops) - _head_layers(model, tops)]
    layers = [below for layer in tops for below in _unstacked(layer)]
    sections = _sections(inner, layers)
    pattern = _family_pattern([layer.name for layer in layers])
    blocks: list[list[keras.layers.Layer]] = []
    named: dict[str, list[keras.layers.Layer]] = {}  # the layers of a named block need not be neighbours
    beside: dict[int, list[keras.layers.Layer]] = {}  # the block of each section of the graph
    leading: list[keras.layers.Layer] = []  # a normalisation of the input belongs to the first block
    for layer in layers:
        match = pattern.fullmatch(layer.name) if pattern else None
        section = sections.get(id(layer))
        if match:
            block = named.setdefault(match[1], [])
        elif section in beside:
            block = beside[section]
        elif isinstance(layer, _NORMALISATIONS) and section is None:
            block = blocks[-1] if blocks else leading
        else:
            block = []
        if section is not None:
            beside.setdefault(section, block)
        if not block and block is not leading:
            blocks.append(block)
        block.append(layer)
    if leading:
        blocks[:1] = [leading + blocks[0]] if blocks else [leading]
    return blocks


def inner_model(model: keras.Model) -> keras.Model:
    """The backbone inside a model, or the model itself."""
    models = [layer for layer in sublayers(model) if isinstance(layer, keras.Model)]
    for layer in models:
        if layer.name == "backbone" or 2 * layer.count_params() > model.count_params():
            return inner_model(layer)
    return model


def _head_layers(model: keras.Model, tops: list[keras.layers.Layer]) -> int:
    """How many of the last layers are the head of a flat classifier: those from `head` on, else a Dense at its end."""
    named = next((len(tops) - index for index, layer in enumerate(tops) if layer.name == "head"), 0)
    if named or model.name == "backbone" or len(tops) < 2:
        return named
    shape = getattr(model, "output_shape", None)
    flat = isinstance(shape, tuple) and len(shape) == 2
    return int(flat and isinstance(tops[-1], keras.layers.Dense))


def _unstacked(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer itself; of a layer that is a stack, what it holds: most of its weights lie in equal composite layers."""
    if isinstance(layer, keras.Model) or own_variables(layer):
        return [layer]
    inside = [one for one in sublayers(layer) if one.weights]
    for kind in {type(one) for one in inside if sublayers(one)}:
        stack = [one for one in inside if type(one) is kind]
        held = sum(one.count_params() for one in stack)
        if len(stack) > 1 and 3 * held > 2 * layer.count_params():
            return [below for one in inside for below in _unstacked(one)]
    return [layer]


def _sections(model: keras.Model, layers: list[keras.layers.Layer]) -> dict[int, int]:
    """For each of the layers that run side by side with another the section of the graph that they share.

    Between two sections one tensor carries everything on. Empty where there is no graph, and where one section holds
    more than half of the layers: what runs through the whole model (a skip to its end, a mask) divides nothing.
    """
    graph = functional(model)
    if graph is None or len(graph.inputs) != 1:
        return {}
    way = steps(graph)
    last = {id(tensor): index for index, step in enumerate(way) for tensor in step.inputs}
    last |= {id(tensor): len(way) for tensor in graph.outputs}
    live = {id(graph.inputs[0])}
    section_of: dict[int, int] = {}
    section = 0
    for index, step in enumerate(way):
        section_of.setdefault(id(step.operation), section)
        live = {tensor for tensor in live.union(map(id, step.outputs)) if last.get(tensor, -1) > index}
        section += len(live) == 1
    members = collections.Counter(section_of[id(layer)] for layer in layers if id(layer) in section_of)
    if 2 * max(members.values(), default=0) > len(layers):
        return {}
    found = {id(layer): section_of.get(id(layer), -1) for layer in layers}
    return {key: section for key, section in found.items() if members[section] > 1}


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    blocks = dict.fromkeys(known(name).blocks for name in names())
    return tuple(re.compile(pattern) for pattern in blocks if pattern)


def _family_pattern(words: list[str]) -> re.Pattern[str] | None:
    """The catalogue's pattern that matches the most of the layer names, at least half; of several, in the most blocks."""
    found = {pattern: [match[1] for word in words if (match := pattern.fullmatch(word))] for pattern in _patterns()}
    best = max(found, key=lambda pattern: (len(found[pattern]), len(set(found[pattern]))))
    return best if words and 2 * len(found[best]) >= len(words) else None


register_finder("blocks", find_blocks)
