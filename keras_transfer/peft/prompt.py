"""Prompt tuning: learned vectors in front of the sequence, as if the text began with words that no vocabulary has."""

import inspect
from typing import Any

import keras
from keras import ops

from ..core.numbers import count
from ..core.registry import register
from .blocks import hidden_width
from .prefix import is_off
from .prompt_moves import positions, turned
from .prompt_places import MASKS, is_place, parts_of, places_of
from .prompt_start import begin
from .wrapper import Adapter, Injection

WORDS = {"at": ("embeddings", "tokens"), "pool": ("text", "prompt"), "start": ("words", "normal")}


@register("prompt", kind="injection")
class PromptTuning(Injection):
    """A frozen language model that reads `length` learned vectors in front of every text.

    Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning (arXiv:2104.08691):

        x' = [P; x],   mask' = [1; mask],   P (length, hidden)

    `length * hidden` weights in all. `at="embeddings"` (the default) puts P in front of the first block's input: words keep
    their positions and segments, P has none, and after the last block it is cut off again, so that all outputs have the
    shapes of the base's and a pooled answer is read at the text's own first token. `at="tokens"` puts P in front of the
    words' vectors, as HF PEFT does: it takes the positions 0 to length - 1 and segment 0, and the words follow;
    `pool="prompt"` leaves it in the outputs, so that position 0 is its first vector (the same numbers as HF PEFT).

    P starts as the vectors of words drawn at random (`start="words"`), of the words of `text`, or normal (`"normal"`).
    Not the base at the start: every word sees the prompt. It stands around all blocks that take a padding mask (BERT,
    DistilBERT, RoBERTa, Llama, GPT-2, ...); a model without, with shared blocks (ALBERT), with a decoder that reads an encoder, and
    generation with a cache are refused. A prompt cannot be merged.

    Settings: `length` from 1; `at`; `pool`, "text" or "prompt"; `start`; `text`; `seed`. `part` is what a place does, and not
    yours to say.

    Example: `model = kt.peft.inject(model, "prompt", length=20, text="is this review good or bad ?")`
    """

    rate = 3e-2
    identity = False
    can_merge = False
    merge_help = (
        "save or export the injected model as it is: a prompt is a longer input, and no layer has weights for it"
    )

    def __init__(self, base: keras.layers.Layer, path: str) -> None:
        super().__init__(base, path)
        self.signature = inspect.signature(base.call)

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Transformer blocks that take a padding mask, and the embeddings of tokens, positions and segments."""
        return is_place(layer)

    @classmethod
    def settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        """As every method's; words that are none of the known are refused."""
        settings = super().settings(given)
        for name, known in WORDS.items():
            if settings[name] not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {settings[name]!r}")
        if settings["pool"] == "prompt" and settings["at"] != "tokens":
            raise ValueError("`pool='prompt'` needs `at='tokens'`. Received: at='embeddings'")
        return settings

    @classmethod
    def where_in(cls, model: keras.Model, settings: dict[str, Any]) -> Any:
        """All blocks, and the embeddings where the prompt stands among the tokens."""
        return list(places_of(model, settings["at"]))

    @classmethod
    def spread(cls, model: keras.Model, layers: list[Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
        """What each place does: hold the prompt, make room for it, cut it off."""
        right = places_of(model, settings["at"])
        if {id(one) for one in layers} != {id(one) for one in right}:
            raise ValueError(
                f"A prompt takes the whole model; leave `where` out. Received: {len(layers)} of {len(right)} places"
            )
        return [{**settings, "part": part} for part in parts_of(layers, settings["at"], settings["pool"])]

    @classmethod
    def begin(cls, model: keras.Model, name: str, settings: dict[str, Any]) -> None:
        """Give the prompt its first values."""
        begin(model, name, settings)

    def add_weights(
        self,
        adapter: Adapter,
        *,
        length: int = 20,
        at: str = "embeddings",
        pool: str = "text",
        start: str = "words",
        text: str | None = None,
        seed: int = 0,
        part: str = "",
    ) -> None:
        """Make the prompt at the one place that holds it."""
        adapter.length, adapter.parts = count("length", length), part.split("+")
        others = {(one.settings["at"], one.settings["pool"]) for one in self.adapters.values()}
        if others != {(at, pool)}:
            raise ValueError(f"All prompts of a model must agree on `at` and `pool`. Received: {sorted(others)}")
        if "hold" in adapter.parts:
            width = self.base.output_dim if "tokens" in adapter.parts else hidden_width(self.base)
            adapter.add("prompt", (length, width), keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """What the base says of the longer sequence."""
        on = [one for one in self.adapters.values() if not is_off(one)]
        if not on or kwargs.get("reverse"):
            return self.base(x, *args, **kwargs)
        parts = on[0].parts
        if "segments" in parts:
            front = ops.zeros((ops.shape(x)[0], sum(one.length for one in on)), dtype=x.dtype)
            return self.base(ops.concatenate([front, x], axis=1), *args, **kwargs)
        if "positions" in parts:
            return positions(self.base, x, on, *args, **kwargs)
        if "tokens" in parts:
            return self._in_front(self.base(x, *args, **kwargs), on)
        x = self._in_front(x, on) if "hold" in parts else x
        given = self.signature.bind(x, *args, **kwargs).arguments
        y = self.base(**self._longer(given, x, on))
        if "cut" in parts:
            return y[:, sum(one.length for one in on) :]
        return turned(y, on) if "turn" in parts else y

    def _in_front(self, x: Any, on: list[Adapter]) -> Any:
        prompts = [ops.broadcast_to(ops.cast(one.prompt, x.dtype), (ops.shape(x)[0], *one.prompt.shape)) for one in on]
        return ops.concatenate([*prompts, x], axis=1)

    def _longer(self, given: dict[str, Any], x: Any, on: list[Adapter]) -> dict[str, Any]:
        """The arguments of a block, the mask with a place for each vector of the prompt, 0 while its adapter is off."""
        for name, value in given.items():
            if value is not None and ("cache" in name or "attention_mask" in name):
                raise ValueError(
                    f"A prompt cannot be read with `{name}` (generation keeps its own); use 'lora' to generate. "
                    f"Received: {name} for block {self.name!r}"
                )
        name = next(name for name in MASKS if name in self.signature.parameters)
        mask, batch, length = given.get(name), ops.shape(x)[0], sum(one.length for one in on)
        if mask is None:
            mask = ops.ones((batch, ops.shape(x)[1] - length), dtype="int32")
        gates = ops.concatenate([ops.broadcast_to(ops.cast(one.gate, mask.dtype), (one.length,)) for one in on])
        front = ops.broadcast_to(gates, (batch, length))
        return {**given, name: ops.concatenate([front, mask], axis=1)}
