"""The first values of a prompt: vectors of words, as the model itself would read them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ..backbones.text_inputs import text_inputs
from ..core.selection import named_layers
from ..core.surgery import steps
from .prompt_places import graphs
from .wrapper import Injection


def begin(model: Any, name: str, settings: dict[str, Any]) -> None:
    """Set the prompt of the adapter `name` to the vectors of words, unless it starts normal.

    The words are those of `text`, repeated until they fill the prompt, or drawn from the vocabulary by `seed`, as in the
    paper, which found both better than random numbers.
    """
    if settings["start"] == "normal" and settings["text"] is None:
        return
    holder = next(one for one in model.injections if name in one.adapters and hasattr(one.adapters[name], "prompt"))
    adapter = holder.adapters[name]
    tokens = _base(next(one for _, one in named_layers(model) if _base(one).name == "token_embedding"))
    ids = _ids(model, tokens.input_dim, settings)
    if "tokens" in adapter.parts:
        vectors = ops.take(tokens.embeddings, ids, axis=0)
    else:
        vectors = _read(model, holder, name, ids)
    adapter.prompt.assign(ops.cast(vectors, adapter.prompt.dtype))


def _ids(model: Any, size: int, settings: dict[str, Any]) -> np.ndarray:
    tokenizer = _tokenizer(model)
    if settings["text"] is None:
        special = set(getattr(tokenizer, "special_token_ids", None) or [])
        words = np.array([one for one in range(size) if one not in special])
        return np.random.default_rng(settings["seed"]).choice(words, settings["length"])
    if tokenizer is None:
        raise ValueError(
            "`text` needs a tokenizer in the model: build it with `tokenizer` or `vocabulary` (kt.build_text_classifier), inject a "
            f"task of keras-hub with its preprocessor, or leave `text` out. Received: text={settings['text']!r} for {model.name!r}"
        )
    ids = [int(one) for one in np.asarray(ops.convert_to_numpy(tokenizer(settings["text"]))).reshape(-1)]
    if not ids:
        raise ValueError(f"`text` must hold at least one word. Received: {settings['text']!r}")
    return np.resize(ids, settings["length"])


def _tokenizer(model: Any) -> Any:
    """That of a task's preprocessor, or of our own text models; None where the model takes token ids only."""
    found = getattr(getattr(model, "preprocessor", None), "tokenizer", None)
    layer = text_inputs(model) if found is None else None
    return found if layer is None else layer.tokenizer


def _read(model: Any, holder: Injection, name: str, ids: np.ndarray) -> Any:
    """The vectors that go into the first block for these words: embeddings, positions, normalisation."""
    graph, step = next(
        (graph, step) for graph in graphs(model) for step in steps(graph) if _holds(step.operation, holder)
    )
    before = keras.Model({tensor.name: tensor for tensor in graph.inputs}, step.inputs[0])
    places = [_base(one) for _, one in named_layers(model) if _base(one).name == "position_embedding"]
    most = min([getattr(one, "sequence_length", len(ids)) for one in places] + [len(ids)])
    read = []
    for start in range(0, len(ids), most):  # as many at once as the model has positions
        some, given = ids[start : start + most], {}
        for tensor in graph.inputs:
            fill = (
                some if "token" in tensor.name else np.ones_like(some) if "mask" in tensor.name else np.zeros_like(some)
            )
            given[tensor.name] = ops.convert_to_tensor(fill[None], dtype=tensor.dtype)
        read.append(before(given, training=False)[0])
    return ops.concatenate(read)


def _holds(operation: Any, holder: Injection) -> bool:
    while isinstance(operation, Injection):
        if operation is holder:
            return True
        operation = operation.base
    return False


def _base(layer: Any) -> Any:
    while isinstance(layer, Injection):
        layer = layer.base
    return layer
