"""The blocks of a backbone, for `top:N`: by the catalogue's patterns for known families, by one rule for all others."""

import re

import keras

from ..core.selection import register_finder
from ..core.surgery import sublayers
from .catalog import entry, names

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
    what its paper calls one (a bottleneck, a depthwise-separable pair); the convolutions before and behind them are
    blocks of their own. Elsewhere every layer with weights starts a block. A normalisation belongs to the block before
    it, and a layer that holds layers is one block with all that is in it. The backbone inside a model is the layer of
    that name, else the model in it that holds most of the weights.

    Example: `[layer.name for layer in find_blocks(model)[-1]]` gives `["Conv_1", "Conv_1_bn"]` for MobileNetV2.
    """
    layers = [layer for layer in sublayers(_inner(model)) if layer.weights]
    pattern = _family_pattern([layer.name for layer in layers])
    blocks: list[list[keras.layers.Layer]] = []
    named: dict[str, list[keras.layers.Layer]] = {}  # the layers of a named block need not be neighbours
    leading: list[keras.layers.Layer] = []  # a normalisation of the input belongs to the first block
    for layer in layers:
        match = pattern.fullmatch(layer.name) if pattern else None
        if match and match[1] in named:
            named[match[1]].append(layer)
        elif match:
            blocks.append(named.setdefault(match[1], [layer]))
        elif isinstance(layer, _NORMALISATIONS):
            (blocks[-1] if blocks else leading).append(layer)
        else:
            blocks.append([layer])
    if leading:
        blocks[:1] = [leading + blocks[0]] if blocks else [leading]
    return blocks


def _inner(model: keras.Model) -> keras.Model:
    models = [layer for layer in sublayers(model) if isinstance(layer, keras.Model)]
    for layer in models:
        if layer.name == "backbone" or 2 * layer.count_params() > model.count_params():
            return _inner(layer)
    return model


def _family_pattern(words: list[str]) -> re.Pattern[str] | None:
    """The catalogue's pattern that matches the most of the layer names, where it matches at least half of them."""
    patterns = dict.fromkeys(re.compile(entry(name).blocks) for name in names())
    counts = {pattern: sum(bool(pattern.fullmatch(word)) for word in words) for pattern in patterns}
    best = max(counts, key=lambda pattern: counts[pattern])
    return best if words and 2 * counts[best] >= len(words) else None


register_finder("blocks", find_blocks)
