"""Text encoders of keras-hub: presets by name or from a folder, tokenizers from a vocabulary, and how texts are packed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub

from . import presets
from .applications import quiet_download
from .catalog import HUB
from .text_catalog import text_names

_NAMES = {"token_ids", "padding_mask", "segment_ids"}
_PRESET = "A text encoder is one of kt.backbones.text_names(), a preset of keras-hub"
_HELP = (
    "Without a network give the folder of a preset, or one of kt.backbones.text_names(), such as minilm_l6, with "
    "`weights` and `vocabulary` (--weights FILE --vocabulary FILE)."
)


def check_preset(preset: str, *, weights: bool, tokenizer: bool) -> str:
    """A preset's name, handle or folder without the "hub:" before it; what can be none is refused before any download.

    weights, tokenizer: whether those of the preset are wanted; a folder must hold them then.
    """
    preset = presets.check_preset(preset.removeprefix(HUB), _PRESET, text_names())
    return presets.check_folder(preset, weights=weights, tokenizer=tokenizer)


def from_preset(preset: str, load_weights: bool) -> keras.Model:
    """The encoder of a preset, named `backbone`."""
    try:
        with quiet_download():
            path = presets.preset_path(preset)
            found = keras_hub.models.Backbone.from_preset(path, load_weights=load_weights, name="backbone")
    except Exception as error:  # a missing file, a network that is not there, a damaged archive: all differ
        raise presets.not_loaded(preset, error, _HELP) from error
    return check_encoder(found)


def tokenizer_from_preset(preset: str) -> Any:
    """The tokenizer of a preset."""
    try:
        with quiet_download():
            return keras_hub.tokenizers.Tokenizer.from_preset(presets.preset_path(preset))
    except Exception as error:
        raise presets.not_loaded(preset, error, _HELP) from error


def check_encoder(backbone: keras.Model) -> keras.Model:
    """An encoder takes token ids, and nothing that does not follow from them."""
    given = getattr(backbone, "input", None)
    names = set(given) if isinstance(given, dict) else set()
    if "token_ids" not in names or names - _NAMES:
        raise ValueError(
            "A text encoder must take token_ids, and at most padding_mask and segment_ids beside them, as the encoders of "
            f"keras-hub do. Received: {type(backbone).__name__} {backbone.name!r} with {sorted(names) or 'one input'}"
        )
    return backbone


def tokenizer_from_vocabulary(backbone: keras.Model, vocabulary: str | Path | Sequence[str]) -> Any:
    """The WordPiece tokenizer of the encoder's family; it lowers case and strips accents where no word has a capital."""
    tokenizer_class = _of_family(keras_hub.models.Tokenizer, backbone)
    if tokenizer_class is None or not issubclass(tokenizer_class, keras_hub.tokenizers.WordPieceTokenizer):
        raise ValueError(
            "`vocabulary` is for encoders with WordPiece tokens (BERT, DistilBERT, ELECTRA); give the `tokenizer` of this "
            f"one. Received: vocabulary for {type(backbone).__name__}"
        )
    words = _words(vocabulary)
    size = getattr(backbone, "vocabulary_size", len(words))
    if len(words) > size:
        raise ValueError(f"The vocabulary must have the encoder's {size} words at most. Received: {len(words)} words")
    cased = any(re.search("[A-Z]", word) for word in words if not re.fullmatch(r"\[.*\]", word))
    try:
        return tokenizer_class(vocabulary=words, lowercase=not cased, strip_accents=not cased)
    except ValueError as error:
        raise ValueError(
            f"The vocabulary does not fit: {str(error).splitlines()[0]} Received: {len(words)} words"
        ) from None


def check_tokenizer(tokenizer: Any, backbone: keras.Model) -> Any:
    """A tokenizer of keras-hub whose ids the encoder knows, or a `ValueError`."""
    if not isinstance(tokenizer, keras_hub.tokenizers.Tokenizer):
        raise TypeError(f"`tokenizer` must be one of keras-hub. Received: {type(tokenizer).__name__}")
    for name in ("start_token_id", "end_token_id", "pad_token_id"):
        if getattr(tokenizer, name, None) is None:
            raise ValueError(
                f"The tokenizer must have a {name}; take that of the encoder's family. Received: {type(tokenizer).__name__}"
            )
    known, words = getattr(backbone, "vocabulary_size", None), tokenizer.vocabulary_size()
    if known is not None and words > known:
        raise ValueError(
            f"The tokenizer must have at most the encoder's {known} words; take the one that it was trained with. "
            f"Received: {type(tokenizer).__name__} with {words}"
        )
    return tokenizer


def preprocessor_for(tokenizer: Any, max_length: int) -> Any:
    """The preprocessor of the tokenizer's family, which knows where its special tokens stand."""
    base = keras_hub.models.TextClassifierPreprocessor
    found = [one for one in _below(base) if one.tokenizer_cls is type(tokenizer)]
    preprocessor = (found[0] if found else base)(tokenizer, sequence_length=max_length)
    preprocessor.build(None)
    return preprocessor


def read_tokenizer(config: dict[str, Any]) -> Any:
    """The tokenizer of a config; nothing but one of keras-hub, for a file may come from anywhere."""
    tokenizer = keras.saving.deserialize_keras_object(config)
    if not isinstance(tokenizer, keras_hub.tokenizers.Tokenizer):
        raise ValueError(f"The file must hold a tokenizer of keras-hub. Received: {type(tokenizer).__name__}")
    return tokenizer


def _words(vocabulary: str | Path | Sequence[str]) -> list[str]:
    if not isinstance(vocabulary, (str, Path)):
        return list(vocabulary)
    path = Path(vocabulary).expanduser()
    if not path.is_file():
        raise ValueError(f"`vocabulary` must be a file with a word a line, or a list. Received: {str(vocabulary)!r}")
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"The vocabulary must be UTF-8. Received: {str(path)!r}: {error}") from None


def _of_family(base: Any, backbone: keras.Model) -> Any:
    found = [one for one in _below(base) if getattr(one, "backbone_cls", None) is type(backbone)]
    return found[0] if found else None


def _below(base: Any) -> list[Any]:
    return [one for child in base.__subclasses__() for one in (child, *_below(child))]
