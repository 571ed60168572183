"""From strings to class probabilities: a text model with its tokenizer in front, for Python and as a SavedModel."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.numbers import count
from ..core.progress import progress
from ..core.texts import for_model
from .inference import inference_model, predict_batch
from .precisions import PRECISIONS
from .text_heldout import inputs_of

SENTENCES = ("One short text.", "Another one, which is a little longer than the first.", "A third")
FEW = 10  # batches that need no progress bar
CHECKED = 64  # texts that a SavedModel is proved on


class ServingModel:
    """Texts to class probabilities (n, classes), float32, in the order of `class_names`.

    Example: `kt.export.serving_model(model).predict(["a fine film"])`
    """

    def __init__(self, model: keras.Model, batch_size: int = 32) -> None:
        self.inference, self.batch_size = inference_model(model), batch_size
        self.layer = inputs_of(self.inference)
        self.layer.packer()  # raises where there is no tokenizer

    def predict(self, texts: Any, batch_size: int | None = None, verbose: str | int = "auto") -> np.ndarray:
        """The probabilities of texts, or of pairs of texts as tuples; one text gives one row.

        verbose: 0 or 1, a progress bar; "auto" shows one for many texts where a person watches.
        """
        size = self.batch_size if batch_size is None else count("batch_size", batch_size, least=1)
        if verbose not in ("auto", 0, 1):
            raise ValueError(f"`verbose` must be 'auto', 0 or 1. Received: {verbose!r}")
        rows = _rows(texts)
        found = [np.zeros((0, self.inference.output_shape[-1]), "float32")]
        starts = range(0, len(rows), size)
        show = bool(verbose) if verbose != "auto" else None if len(starts) > FEW else False
        for start in progress(starts, total=len(starts), text="Predicting", show=show):
            ids, _ = self.layer.encode(rows[start : start + size])
            batch = np.full((len(ids), max(map(len, ids))), self.layer.pad_id, "int32")
            for place, row in enumerate(ids):
                batch[place, : len(row)] = row
            found.append(predict_batch(self.inference, batch, size))
        return np.concatenate(found)


def serving_model(model: keras.Model) -> ServingModel:
    """A text model that takes strings; it shares the weights of `model`, whose tokenizer it uses.

    Raises `ValueError` where the model has none, and for a model of something else than texts.

    Example: `kt.export.serving_model(model).predict(["a fine film", "a poor one"])`
    """
    return ServingModel(model)


def export_saved_model(model: keras.Model, folder: str | Path, data: Any = None) -> Path:
    """Write a text model as a SavedModel from strings to probabilities, its tokenizer inside, and prove it.

    Its signature `serving_default` takes "text", a string tensor (batch,), or "first" and "second" where `data` holds
    pairs, and gives "probabilities" (batch, classes). Whoever loads it imports `tensorflow_text` first, whose operations
    it holds. data: a `TextData`, on up to 64 held-out texts of which the loaded SavedModel must answer as the model does,
    within 1e-4; a few sentences where there is none. Raises `ValueError` for a folder that exists, and `RuntimeError`,
    with nothing left behind, where the answers differ.

    Example: `kt.export.export_saved_model(model, "reviews_serving", data)`
    """
    folder = Path(folder)
    if folder.exists() or not folder.parent.is_dir():
        raise ValueError(
            f"The folder to export to must not exist yet, and lie in one that does. Received: {str(folder)!r}"
        )
    import tensorflow as tf

    served = ServingModel(model)
    texts = _texts(served.inference, data)
    pairs = not isinstance(texts[0], str)
    names = ("first", "second") if pairs else ("text",)
    module = tf.Module()
    module.weights = [variable.value for variable in served.inference.variables]
    module.tokenizer, packer = served.layer.tokenizer, served.layer.packer()

    def serve(*columns: Any) -> dict[str, Any]:
        ids = packer(tuple(module.tokenizer(column) for column in columns))[0]
        return {
            "probabilities": served.inference(tf.ensure_shape(ids, (None, served.layer.max_length)), training=False)
        }

    module.serve = tf.function(
        serve, input_signature=[tf.TensorSpec((None,), tf.string, name=name) for name in names], autograph=False
    )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as workshop:
        written = Path(workshop) / "model"
        tf.saved_model.save(module, str(written), signatures={"serving_default": module.serve})
        loaded = tf.saved_model.load(str(written))
        columns = list(zip(*texts, strict=True)) if pairs else [texts]
        given = {name: tf.constant(list(column)) for name, column in zip(names, columns, strict=True)}
        answers = loaded.signatures["serving_default"](**given)["probabilities"].numpy()
        difference = float(np.abs(answers - served.predict(texts)).max())
        if not difference <= PRECISIONS["float32"].max_difference:  # type: ignore[operator]
            raise RuntimeError(
                f"The SavedModel must answer as the model does and was not kept: it differs by {difference:.3g}"
            )
        written.rename(folder)
    return folder


def _rows(texts: Any) -> list[Any]:
    """One text or several as a list of strings, or of pairs; arrays, tensors and UTF-8 bytes are read, too."""
    texts = texts.numpy() if hasattr(texts, "numpy") else texts
    texts = texts.tolist() if hasattr(texts, "tolist") else texts
    one = isinstance(texts, (str, bytes)) or (
        isinstance(texts, tuple) and len(texts) == 2 and isinstance(texts[0], (str, bytes))
    )
    if not (one or isinstance(texts, Iterable)) or isinstance(texts, Mapping):
        raise TypeError(f"Give a text, or a list of texts or of pairs of them. Received: {texts!r:.200}")
    return [_decoded(text) for text in ([texts] if one else texts)]


def _decoded(text: Any) -> Any:
    if isinstance(text, (tuple, list)):
        return tuple(map(_decoded, text))
    return text.decode() if isinstance(text, bytes) else text


def _texts(inference: keras.Model, data: Any) -> list[Any]:
    if data is None:
        return list(SENTENCES)
    texts = for_model(data, inference)
    texts = texts.held_out[1] if hasattr(texts, "held_out") else texts
    if not hasattr(texts, "texts"):
        raise TypeError(f"`data` must be what kt.load_texts gives, or None. Received: {type(data).__name__}")
    return list(texts.texts[:CHECKED])
