"""Import what imports TensorFlow, without the lines that it writes to stderr while it starts."""

import importlib
import logging
import os
import sys
from types import ModuleType

from ..core.progress import on_terminal
from ..core.stderr import held_back

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
