"""Text encoders that can be built by name, for weights from a file: their published shapes."""

from typing import Any, NamedTuple

from ..core.messages import nearest


class TextEntry(NamedTuple):
    """An encoder: its class in keras-hub, the arguments of its published shape, where that was published."""

    backbone: str
    arguments: dict[str, Any]
    paper: str


def _bert(layers: int, width: int, heads: int | None = None, words: int = 30522) -> dict[str, Any]:
    return {
        "vocabulary_size": words, "num_layers": layers, "num_heads": heads or width // 64, "hidden_dim": width,
        "intermediate_dim": 4 * width, "max_sequence_length": 512,
    }  # fmt: skip


_BERT, _SMALL = "Devlin et al. 2019, arXiv:1810.04805", "Turc et al. 2019, arXiv:1908.08962"
_MINILM = "Wang et al. 2020, MiniLM, arXiv:2002.10957"
ENCODERS = {
    "bert_tiny": TextEntry("BertBackbone", _bert(2, 128), _SMALL),
    "bert_mini": TextEntry("BertBackbone", _bert(4, 256), _SMALL),
    "bert_small": TextEntry("BertBackbone", _bert(4, 512), _SMALL),
    "bert_medium": TextEntry("BertBackbone", _bert(8, 512), _SMALL),
    "bert_base": TextEntry("BertBackbone", _bert(12, 768), _BERT),
    "bert_base_cased": TextEntry("BertBackbone", _bert(12, 768, words=28996), _BERT),
    "bert_large": TextEntry("BertBackbone", _bert(24, 1024), _BERT),
    "minilm_l6": TextEntry("BertBackbone", _bert(6, 384, heads=12), _MINILM),
    "minilm_l12": TextEntry("BertBackbone", _bert(12, 384, heads=12), _MINILM),
    "distilbert_base": TextEntry("DistilBertBackbone", _bert(6, 768), "Sanh et al. 2019, arXiv:1910.01108"),
    "roberta_base": TextEntry("RobertaBackbone", _bert(12, 768, words=50265), "Liu et al. 2019, arXiv:1907.11692"),
}


def text_names() -> tuple[str, ...]:
    """The text encoders that can be built by name.

    Example: `"minilm_l6" in kt.backbones.text_names()`
    """
    return tuple(ENCODERS)


def text_entry(name: str) -> TextEntry:
    """The encoder of that name; an unknown one is a `ValueError` with the nearest."""
    if name not in ENCODERS:
        raise ValueError(f"Unknown text encoder. {nearest(str(name), ENCODERS)} Received: {name!r}")
    return ENCODERS[name]
