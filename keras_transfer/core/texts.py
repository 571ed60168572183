"""What texts need of all that takes data: a model's own tokenizer, and batches of a length that suits them."""

from typing import Any


def for_model(data: Any, model: Any) -> Any:
    """`data` as `model` takes it: texts become token ids by the model's own tokenizer; anything else is itself."""
    return data.for_model(model) if hasattr(data, "for_model") else data


def padded(longest: int, most: int) -> int:
    """The length of a batch whose longest sample has `longest` tokens: the next multiple of 8, at most `most`."""
    return max(1, min(-(-int(longest) // 8) * 8, int(most)))
