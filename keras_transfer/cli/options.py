"""Options made from the fields of `RunConfig`, so that a setting is described in one place only."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional, get_args

import typer

from ..config import RunConfig

Command = Callable[..., Any]
ImageSize = Annotated[
    int | None, typer.Option(min=16, max=2048, help="Height and width in pixels; by default the backbone's own.")
]
Level = Annotated[
    Literal["none", "light", "medium", "strong"], typer.Option(help="Random changes to the training pictures.")
]
OnBad = Annotated[Literal["raise", "skip"], typer.Option(help="Stop at bad pictures, or skip and name them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def with_run_options(command: Command) -> Command:
    """Give `command(data, config, **given)` an option for every field; `given` holds those on the command line.

    An option's default is None, so that one that was given can be told from one that was not: the first wins over
    `--config`, the second does not. `--help` shows the default of the field.
    """
    fixed = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = {p.name for p in fixed}
    made = [_option(name) for name in RunConfig.model_fields if name not in names]

    def call(**values: Any) -> Any:
        options = {name: value for name, value in values.items() if name not in names and value not in (None, [])}
        return command(**{name: values[name] for name in names}, **options)

    signature = inspect.Signature([*(p.replace(kind=p.KEYWORD_ONLY) for p in fixed), *made])
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    return call


def _option(name: str) -> inspect.Parameter:
    field = RunConfig.model_fields[name]
    kind: Any = Optional[field.annotation]  # noqa: UP045
    several, metavar = isinstance(field.default, tuple), None
    if several:
        choices = get_args(get_args(field.annotation)[0])
        kind, metavar = list[str] | None, f"<{'|'.join(choices)}>" if choices else None
    shown = ", ".join(field.default) if several else field.default
    default = "" if shown in (None, False, "") else f" [default: {shown}]"
    option = typer.Option(help=f"{field.description}{default}", show_default=False, metavar=metavar)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
