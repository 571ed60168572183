"""The command `keras-transfer`: its commands, and what an error becomes (a sentence and an exit code)."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .advise import advise
from .compare import compare
from .demo import demo
from .evaluate import evaluate
from .export import export
from .fit import fit
from .predict import predict
from .report import report
from .runs import list_runs
from .scan import scan

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
FAILURES = ("CertificateError", "RunFailed")  # by name: to import them would import TensorFlow
NOT_THERE = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
DEBUG = "KERAS_TRANSFER_DEBUG"

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # thirty options are easier to read as lines than in a table of 80 columns
    help="Transfer learning with Keras: a folder of photos or a table of texts in, a certified .tflite out.",
    epilog="\b\nStart with:\n"
    "  keras-transfer demo           two minutes, nothing to download\n"
    "  keras-transfer scan photos/   what is in a folder, and what is wrong with it\n"
    "  keras-transfer fit photos/    photos/ holds a sub-folder of pictures for each class\n"
    "  keras-transfer fit texts.tsv  a text and a label a line",
)
for name, command in (
    ("demo", demo),
    ("scan", scan),
    ("advise", advise),
    ("fit", fit),
    ("evaluate", evaluate),
    ("predict", predict),
    ("compare", compare),
    ("export", export),
    ("report", report),
    ("list", list_runs),
):
    # The first paragraph of the docstring stands in the list of commands, uncut.
    app.command(name, short_help=" ".join((command.__doc__ or "").split("\n\n")[0].split()))(command)


def _version(wanted: bool) -> None:
    if wanted:
        from ..core.version import __version__

        print(f"keras-transfer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    arguments = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="keras-transfer", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before or after the command; one within it comes back as its code
        code = INTERRUPTED
    except BrokenPipeError:  # `keras-transfer list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except SystemExit:  # the same within the command, where Typer ends the process with 1
        code = DONE
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            import traceback

            traceback.print_exc()
        text, code = _explain(error)
        print(text, end="", file=sys.stderr)
    if code == INTERRUPTED:
        print("Interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else DONE


def _explain(error: Exception) -> tuple[str, int]:
    """What to tell of an error, and the exit code that goes with it."""
    if callable(getattr(error, "format_message", None)):  # a command line that does not parse
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context else "keras-transfer"
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return f"Error: {message}. See: {help_of} --help\n", BAD_INPUT
    if type(error).__name__ in FAILURES:
        return f"Failed: {error}\n", FAILED
    if isinstance(error, (ValueError, TypeError, *NOT_THERE)):
        return f"Error: {error}\n", BAD_INPUT
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"Failed: {type(error).__name__}: {first} ({DEBUG}=1 shows the traceback.)\n", FAILED


def main() -> None:
    """The console script."""
    sys.exit(run())
