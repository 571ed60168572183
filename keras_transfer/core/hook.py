"""Keras finds our classes in a file, whether `keras` or `keras_transfer` was imported first, and neither pays for it.

A `.keras` file names a class as `keras_transfer>Pad`, and Keras finds it only once it is registered, that is, once its
module was imported. That module needs Keras, which takes eight seconds, so `import keras_transfer` must not import it.
Hence: where Keras is there already, the modules are imported at once; where it is not, they are imported in the moment
in which Keras has been. A module of ours that is itself being imported then is given the time to end first.
"""

import importlib
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]

# Every module with a class under `@register`, or a finder for `where`; tests/test_architecture.py holds this list
# against the sources.
REGISTERING = (
    "backbones.augmentation",
    "backbones.blocks",
    "backbones.preprocessing",
    "backbones.text_blocks",
    "backbones.text_inputs",
    "backbones.text_pooling",
    "backbones.tfhub",
    "backbones.word_inputs",
    "core.optimizers",
    "core.schedules",
    "peft.bias",
    "peft.bottleneck",
    "peft.dora",
    "peft.ia3",
    "peft.injected",
    "peft.lora",
    "peft.prefix",
    "peft.prompt",
    "peft.quantized",
    "tuning.anchoring",
    "tuning.focal",
)

_pending = list(REGISTERING)
_busy = threading.Lock()
_nested = threading.local()


def keras_ready() -> bool:
    """Whether Keras was imported to its end."""
    keras = sys.modules.get("keras")
    return keras is not None and not getattr(keras.__spec__, "_initializing", False)


def register_all() -> None:
    """Import the modules that register classes; one that cannot be imported is a warning, never an error."""
    if not _busy.acquire(blocking=False):
        return
    try:
        for name in tuple(_pending):
            try:
                importlib.import_module(f"{PACKAGE}.{name}")
            except Exception as error:
                if f"{PACKAGE}.{name}" not in sys.modules:  # else another thread is at it, and waits for us
                    text = f"{PACKAGE}.{name} could not be imported, so Keras cannot load its classes: {error}"
                    warnings.warn(text, RuntimeWarning, stacklevel=2)
            _pending.remove(name)
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
    finally:
        _busy.release()


def install() -> None:
    """Register our classes now where Keras is there, else as soon as it is; calling it again does nothing."""
    if keras_ready():
        register_all()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


class _Finder(MetaPathFinder):
    """Sees `keras` and our own modules come in; everything else passes by."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras" and not fullname.startswith(f"{PACKAGE}."):
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target) if finder is not self else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Watch(spec.loader)
                return spec
        return None


class _Watch(Loader):
    """A module's own loader, and a look round when the outermost of the watched imports has ended."""

    def __init__(self, loader: Any):
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module looks as if nobody had watched.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        depth = getattr(_nested, "depth", 0)
        _nested.depth = depth + 1
        try:
            self.loader.exec_module(module)
        finally:
            _nested.depth = depth
        if depth == 0 and (module.__name__ == "keras" or keras_ready()):
            register_all()


_FINDER = _Finder()
