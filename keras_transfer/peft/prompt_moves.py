"""What moves when a prompt among others is switched off in a traced function, whose shapes stay."""

from typing import Any

from keras import ops

from .wrapper import Adapter


def positions(layer: Any, x: Any, on: list[Adapter], *args: Any, **kwargs: Any) -> Any:
    """The vectors of the positions 0, 1, ... where a prompt that is off takes none, and the text moves up."""
    length, most = x.shape[1], layer.sequence_length
    if length is not None and length > most:
        raise ValueError(f"Prompt and text must fit into the {most} positions of the model. Received: {length}")
    ahead, places = ops.convert_to_tensor(0), []
    for one in on:
        places.append(ops.arange(one.length) + ahead)
        ahead = ahead + ops.cast(one.gate, "int32") * one.length
    places.append(ops.arange(ops.shape(x)[1] - sum(one.length for one in on)) + ahead)
    return ops.take(layer(x, *args, **kwargs), ops.concatenate(places), axis=1)


def turned(y: Any, on: list[Adapter]) -> Any:
    """`y` with the prompts that are off behind the text, so that position 0 is of one that is on, or the text's own."""
    ahead, none_yet = ops.convert_to_tensor(0), ops.convert_to_tensor(1)
    for one in on:
        none_yet = none_yet * (1 - ops.cast(one.gate, "int32"))
        ahead = ahead + none_yet * one.length
    length = ops.shape(y)[1]
    return ops.take(y, (ops.arange(length) + ahead) % length, axis=1)
