"""Presets of keras-hub, of pictures and of texts: which there are, where a folder lies, and what is told of one that fails."""

import re
from collections.abc import Iterable
from pathlib import Path

import keras_hub

from ..core.messages import nearest

_OR_WORDS = "So does a tokenizer's own; or give the `vocabulary` of a BERT (--vocabulary FILE)."
_WEIGHTS = ("model.weights.h5", "model.weights.json", "model.safetensors", "model.safetensors.index.json")
_OURS = ("tokenizer.json", "tokenizer_config.json")
_CONVERTED = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "tekken.json")
_TOKENIZER = (*_OURS, *_CONVERTED)  # of keras-hub, and of checkpoints of transformers, which it converts


def check_preset(preset: str, expected: str, others: Iterable[str] = ()) -> str:
    """Refuse what can be no preset, before anything is fetched; `expected` begins the sentence, `others` are names that
    could be meant too.
    """
    known = sorted(keras_hub.models.Backbone.presets)
    if preset in known or "://" in preset or Path(preset).expanduser().is_dir():
        return preset
    if "/" in preset or preset.startswith("~"):
        raise ValueError(f"The folder of a preset must exist; check the path. Received: {preset!r}")
    raise ValueError(
        f"{expected}, a handle like kaggle://..., or a folder that exists. {nearest(preset, [*others, *known])} "
        f"Received: {preset!r}"
    )


def check_folder(preset: str, *, weights: bool, tokenizer: bool) -> str:
    """Refuse the folder of a preset that lacks its config, or the weights or the tokenizer that are wanted of it."""
    folder = Path(preset).expanduser()
    if folder.is_dir():
        needed = {("config.json",): True, _WEIGHTS: weights, _TOKENIZER: tokenizer}
        for names, wanted in needed.items():
            if wanted and not any((folder / name).is_file() for name in names):
                also = f" {_OR_WORDS}" if names == _TOKENIZER else ""
                raise ValueError(
                    f"The folder of a preset must hold {names[0]}, as keras-hub's `save_to_preset` writes it.{also} "
                    f"Received: {preset!r}, which has none"
                )
    return preset


def preset_path(preset: str) -> str:
    """A preset as keras-hub takes it: the folder where it is one."""
    folder = Path(preset).expanduser()
    return str(folder) if folder.is_dir() else preset


def not_loaded(preset: str, error: Exception, help: str, what: str = "") -> ValueError:
    """One sentence for a preset that did not load, whatever it failed with, and the way out."""
    reason = str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
    if (host := re.search(r"host='([^']+)'", reason)) and "Max retries" in reason:
        reason = f"no connection to {host[1]}"
    return ValueError(f"The preset could not be loaded{what} ({reason[:200]}). {help} Received: {preset!r}")
