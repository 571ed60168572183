"""Class weights of labels or of a data set, for `class_weight=` of every fit."""

from typing import Any

from ..core.class_weights import balanced
from .images import ImageData
from .text import TextData


def class_weights(labels: Any) -> dict[int, float]:
    """What each class weighs so that all count the same: `w_c = n / (k n_c)` (King & Zeng 2001), {class: weight}.

    labels: integers (n,), one-hot rows (n, k), or an `ImageData` or `TextData`, whose training labels count. A fit takes the result
    as `class_weight=`, and computes the same itself from `class_weight="balanced"`.

    Example: `model.fit(data.train, class_weight=kt.data.class_weights(data))`
    """
    return balanced(labels.splits["train"].targets() if isinstance(labels, (ImageData, TextData)) else labels)
