"""Import what imports TensorFlow, without the lines that it writes to stderr while it starts."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from ..core.progress import on_terminal

PACKAGE = __name__.partition(".")[0]


def load(room: str) -> ModuleType:
    """Import a room that stands on TensorFlow (`load("pipeline")`); on a terminal a line says why it takes seconds."""
    if os.environ.get("KERAS_TRANSFER_DEBUG") == "1":
        return importlib.import_module(f"{PACKAGE}.{room}")
    if "tensorflow" not in sys.modules and on_terminal():
        print("Starting TensorFlow ...", file=sys.stderr, flush=True)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice on retracing is ours to follow, not the user's
    with held_back():
        import keras  # noqa: F401

        return importlib.import_module(f"{PACKAGE}.{room}")


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back what C++ code writes to the process's stderr; where the block fails, let it out."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
