"""Values into settings: a `RunConfig`, or a sentence that names the first key that does not fit."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ..core.messages import nearest
from .run_config import RunConfig


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """A `RunConfig`, or a `ValueError` in one sentence that names the first key that does not fit."""
    for key in values:
        if key not in RunConfig.model_fields:
            raise ValueError(f"Unknown key. {nearest(str(key), RunConfig.model_fields)} Received: {key!r}")
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise ValueError(str(first["ctx"]["error"])) from None
        key = str(first["loc"][0])
        if first["type"] == "missing":
            raise ValueError(f"`{key}` is needed: {RunConfig.model_fields[key].description}") from None
        raise ValueError(
            f"`{key}` must be {_expected(RunConfig.model_fields[key])}. "
            f"Received: {first['input']!r} ({type(first['input']).__name__})"
        ) from None


def _expected(field: FieldInfo) -> str:
    """In words what a field takes: `a whole number of at least 1`."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (UnionType, Union) else (field.annotation,)
    kind = next(kind for kind in kinds if kind is not NoneType)
    several = get_origin(kind) is tuple
    kind = get_args(kind)[0] if several else kind
    if get_origin(kind) is Literal:
        text = ("a list of " if several else "one of ") + ", ".join(repr(choice) for choice in get_args(kind))
    else:
        text = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        (word, getattr(limit, name)) for limit in field.metadata for name, word in words.items() if hasattr(limit, name)
    ]
    limits = [f"{word} {value}" for word, value in found]
    return " ".join([text, " and ".join(limits)]).strip() + (", or null" if NoneType in kinds else "")
