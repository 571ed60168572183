"""Focal loss: pictures that are right already count less, so that the hard ones decide."""

from typing import Any

import keras
from keras import ops

from ..core.numbers import number
from ..core.registry import register


@register("focal", kind="loss")
class FocalCrossentropy(keras.losses.Loss):
    """The focal loss of Keras for integer labels too, (B,) or (B, 1), beside rows (B, classes), one-hot or shares.

    Lin et al. 2017, Focal Loss for Dense Object Detection (arXiv:1708.02002): with p_c the probability of class c and y_c
    its share of the label, `FL = -sum_c y_c (1 - p_c)^gamma log p_c`. gamma from 0, where it is the cross-entropy; 2 is the
    paper's. The paper's weight of the rare class is said by `class_weight="balanced"`. Keras computes it
    (`categorical_focal_crossentropy`, whose probabilities end at 1e-7 and 1 - 1e-7).

    from_logits: whether the model puts out logits, as ours do. Raises `ValueError` for a negative gamma.

    Example: `kt.fine_tune(model, data, loss="focal")` or, with another gamma, `loss=kt.tuning.FocalCrossentropy(1.0)`
    """

    def __init__(self, gamma: float = 2.0, from_logits: bool = True, name: str = "focal_crossentropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.gamma, self.from_logits = number("gamma", gamma, least=0.0), bool(from_logits)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1]
        rows = y_true
        if len(y_true.shape) != 2 or y_true.shape[-1] == 1:
            rows = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes)
        return keras.losses.categorical_focal_crossentropy(
            rows, y_pred, alpha=1.0, gamma=self.gamma, from_logits=self.from_logits
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma, "from_logits": self.from_logits}
