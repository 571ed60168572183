"""From the hidden states of a text's tokens to one vector a text, by a layer named `pooling` that leaves padding out."""

from typing import Any

import keras
from keras import ops

from ..core.messages import nearest
from ..core.registry import register

POOLINGS = ("pooled", "cls", "mean", "max")


@register("text_pooling", kind="text_layer")
class TextPooling(keras.layers.Layer):
    """Hidden states h (B, L, D) and the padding mask m (B, L) to features (B, D).

    - `"mean"`: `sum_t m_t h_t / sum_t m_t` (Reimers & Gurevych 2019, Sentence-BERT, arXiv:1908.10084), in float32;
    - `"max"`: the largest of each feature over the tokens with m_t = 1;
    - `"cls"`: h_0, the first token's (Devlin et al. 2019, arXiv:1810.04805).

    A text of padding alone gives zeros ("mean", "max"). Raises `ValueError` for another mode.

    Example: `TextPooling("mean")(hidden, mask)`
    """

    def __init__(self, mode: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in POOLINGS[1:]:
            raise ValueError(f"Unknown pooling. {nearest(str(mode), POOLINGS[1:])} Received: {mode!r}")
        self.mode = mode

    def call(self, hidden: Any, mask: Any) -> Any:
        if self.mode == "cls":
            return hidden[:, 0]
        held = ops.expand_dims(ops.cast(mask, "float32"), -1)
        wide = ops.cast(hidden, "float32")
        if self.mode == "mean":
            pooled = ops.sum(wide * held, axis=1) / ops.maximum(ops.sum(held, axis=1), 1.0)
        else:
            low = ops.max(ops.where(held > 0, wide, -3e38), axis=1)
            pooled = ops.where(ops.max(held, axis=1) > 0, low, 0.0)
        return ops.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, hidden_shape: tuple[int | None, ...], mask_shape: Any = None) -> tuple[Any, ...]:
        return hidden_shape[0], hidden_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def check_pooling(pooling: str | None) -> None:
    """Refuse what is no pooling, before anything is built."""
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(f"Unknown pooling. {nearest(str(pooling), POOLINGS)} Received: {pooling!r}")


def pool_text(output: Any, mask: Any, pooling: str | None) -> Any:
    """The features of an encoder's output: one tensor, or "sequence_output" and "pooled_output".

    None is "pooled" where the encoder has such an output, else "cls".
    """
    several = isinstance(output, dict)
    pooled = output.get("pooled_output") if several else None
    hidden = output.get("sequence_output") if several else output
    word = pooling or ("cls" if pooled is None else "pooled")
    if word == "pooled" and pooled is None:
        raise ValueError(
            "Pooling 'pooled' needs an encoder that pools itself, as BERT does; take 'cls', 'mean' or 'max'. "
            f"Received: an encoder that gives {sorted(output) if several else tuple(hidden.shape)}"
        )
    if word == "pooled":
        return keras.layers.Identity(name="pooling")(pooled)
    if hidden is None or len(hidden.shape) != 3:
        raise ValueError(
            "A text encoder must give hidden states (batch, tokens, features), alone or as 'sequence_output'. "
            f"Received: {sorted(output) if several else tuple(hidden.shape)}"
        )
    return TextPooling(word, name="pooling")(hidden, mask)
