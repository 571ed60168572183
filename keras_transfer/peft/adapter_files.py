"""An adapter as named arrays, read from and written to a folder in HF PEFT's layout; no model is touched here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ..core.files import atomic_write, write_json
from .hf_config import FILE as CONFIG
from .hf_config import lora_config, prompt_config
from .names import Names, shortest_targets

WEIGHTS = "adapter_model.safetensors"
PROMPT = "prompt"
BASE = "keras_transfer.base_sha256"  # in the file's metadata, which PEFT passes over
PREFIXES = ("base_model.model.", "base_model.")  # the second before what stands beside a prompt
ENDINGS = {  # PEFT's and ours
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
    ".base_layer.bias": "bias",
    ".weight": "kernel",
    ".bias": "bias",
}


@dataclass(frozen=True)
class Adapter:
    """What a folder holds, in our words and with our layer paths.

    `weights` has for each adapted layer `"<path>/a"`, (inputs, rank), and `"<path>/b"`, (rank, outputs), the axes of an
    einsum kernel flattened in its order; for saved layers `"<path>/kernel"` (inputs, outputs), a norm's scale
    (width,), and `"<path>/bias"`; for a soft prompt `"prompt"`, (length, width). All are float32.
    `embeddings` are the paths whose layer is an embedding: its `a` has a row a word.
    """

    method: str
    settings: dict[str, Any]
    weights: dict[str, np.ndarray]
    base: str | None = None  # SHA-256 of the frozen weights that it was trained on
    embeddings: tuple[str, ...] = ()
    task: str | None = None

    @property
    def adapted(self) -> list[str]:
        """The paths of the layers with an `a`."""
        return [name[: -len("/a")] for name in self.weights if name.endswith("/a")]

    @property
    def saved(self) -> list[str]:
        """The paths of the layers that are saved whole."""
        return [name[: -len("/kernel")] for name in self.weights if name.endswith("/kernel")]


def write_adapter(folder: str | Path, adapter: Adapter, names: Names) -> Path:
    """Write `adapter_model.safetensors` and `adapter_config.json` into `folder` (made where it is not there), each whole.

    With the names of a known family HF PEFT reads them: `PeftModel.from_pretrained(base, folder)`.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"An adapter is written into a folder. Received: the file {str(folder)!r}")
    prefix = PREFIXES[adapter.method == "prompt"]
    tensors = {}
    for name, value in adapter.weights.items():
        if not np.isfinite(value).all():
            raise ValueError(f"An adapter with numbers that are not finite is not written. Received: {name!r}")
        tensors[_theirs(name, adapter, names, prefix)] = np.ascontiguousarray(turned(name, value, back=True), "float32")
    metadata = {"format": "pt"} | ({BASE: adapter.base} if adapter.base else {})
    modules = [names.of_path[path] for path in adapter.adapted]
    saved = _whole_modules([names.of_path[path] for path in adapter.saved])
    if adapter.method == "prompt":
        config = prompt_config(adapter.weights[PROMPT].shape, saved, adapter.task)
    else:
        targets = shortest_targets(modules, names.of_module)
        config = lora_config(adapter.settings, targets, saved, adapter.task)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, save(tensors, metadata))
    write_json(folder / CONFIG, config)
    return folder


def _whole_modules(saved: list[str]) -> list[str]:
    """RoBERTa's classifier is one module of PEFT's, which holds two layers."""
    return list(dict.fromkeys("classifier" if name.startswith("classifier.") else name for name in saved))


def turned(name: str, value: np.ndarray, back: bool = False) -> np.ndarray:
    """A matrix (outputs, inputs) the other way round, the kernel of a convolution (outputs, inputs, ...) with its window first."""
    if name == PROMPT or value.ndim < 2:
        return value
    window = range(2, value.ndim)
    order = (*window, 1, 0)
    return np.transpose(value, np.argsort(order) if back else order)


def _theirs(name: str, adapter: Adapter, names: Names, prefix: str) -> str:
    """PEFT's name of one of our arrays."""
    if name == PROMPT:
        return "prompt_embeddings"
    path, _, part = name.rpartition("/")
    module = prefix + names.of_path[path]
    if part in "ab":
        ending = f".lora_embedding_{part.upper()}" if path in adapter.embeddings else f".lora_{part.upper()}.weight"
        return module + ending
    if part == "kernel":
        return module + ".weight"
    return module + (".base_layer.bias" if path in adapter.adapted else ".bias")
