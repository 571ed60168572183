"""Read an adapter in HF PEFT's layout: everything in it is checked before a model is touched."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..core.messages import nearest
from .adapter_files import BASE, ENDINGS, PREFIXES, PROMPT, WEIGHTS, Adapter, turned
from .hf_config import FILE as CONFIG
from .hf_config import read_config
from .names import Names


def read_adapter(folder: str | Path, names: Names) -> Adapter:
    """Read and check an adapter; every name must be one of `names`, every array finite, each `a` with its `b`.

    Raises `ValueError` for a folder without the two files, a file cut short, a type or shape that cannot be, a module that
    the model does not have (with the nearest), or a method that we do not have.
    """
    folder = Path(folder)
    method, settings = read_config(folder)
    tensors, base = _tensors(folder)
    weights: dict[str, np.ndarray] = {}
    embeddings = []
    for name, value in tensors.items():
        if ".original_module." in name or ".modules_to_save." in name:
            continue  # with `bias="all"` PEFT writes the biases of saved layers three times, and once under their name
        ours, embedding = _ours(name, value, names, folder)
        if ours in weights:
            raise ValueError(f"Each array stands once in a file. Received: {name!r} again, in {str(folder)!r}")
        weights[ours] = turned(ours, value)
        if embedding:
            embeddings.append(ours[:-2])
    adapter = Adapter(method, settings, weights, base, tuple(dict.fromkeys(embeddings)))
    _consistent(adapter, folder)
    return adapter


def _tensors(folder: Path) -> tuple[dict[str, np.ndarray], str | None]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        hint = "; a .bin runs what it says when it is opened: save it again with safe_serialization=True" * pickled
        raise ValueError(f"The folder of an adapter must hold {WEIGHTS}{hint}. Received: {str(folder)!r}")
    try:
        with safe_open(path, framework="np") as file:  # lengths are checked before anything is read
            metadata = file.metadata() or {}
            found = {}
            for name in file.keys():  # noqa: SIM118  (no mapping)
                kind = file.get_slice(name).get_dtype()
                if kind not in ("F64", "F32", "F16", "BF16"):
                    raise ValueError(
                        f"An adapter's arrays are floats. Received: {name!r} of type {kind} in {str(path)!r}"
                    )
                found[name] = np.asarray(file.get_tensor(name)).astype("float32")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"The file must be a whole .safetensors ({error}). Received: {str(path)!r}") from error
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise ValueError(f"An adapter's numbers must be finite. Received: {name!r} with others, in {str(path)!r}")
    if not found:
        raise ValueError(f"The file must hold an adapter. Received: no array in {str(path)!r}")
    return found, metadata.get(BASE)


def _ours(name: str, value: np.ndarray, names: Names, folder: Path) -> tuple[str, bool]:
    """Our name of an array, and whether it belongs to an embedding."""
    if name == "prompt_embeddings":
        return PROMPT, False
    bare = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
    for ending, part in ENDINGS.items():
        if bare.endswith(ending):
            module = bare.removesuffix(ending)
            path = names.of_module.get(module)
            if path is None:
                raise ValueError(
                    f"The adapter is for another model: this one has no such layer. {nearest(module, names.of_module)} "
                    f"Received: {name!r} in {str(folder)!r}"
                )
            return f"{path}/{part}", "embedding" in ending
    raise ValueError(
        f"An array of LoRA ends in {', '.join(map(repr, list(ENDINGS)[:4]))}. "
        f"Received: {name!r}, {value.shape}, in {str(folder)!r}"
    )


def _consistent(adapter: Adapter, folder: Path) -> None:
    """The arrays must be those that the config tells of."""
    weights, settings = adapter.weights, adapter.settings
    if adapter.method == "prompt":
        found = weights.get(PROMPT, np.zeros(0)).shape
        if len(found) != 2 or found[0] != settings["length"]:
            raise ValueError(
                f"{CONFIG} says that the prompt has {settings['length']} vectors. Received: {found} in {str(folder)!r}"
            )
        return
    for path in {name.rpartition("/")[0] for name in weights if name.endswith(("/a", "/b"))}:
        a, b = (weights[f"{path}/{part}"].shape if f"{path}/{part}" in weights else None for part in "ab")
        fit = a and b and len(a) == len(b) >= 2 and a[-1] == b[-2] == settings["rank"]
        if not fit:
            raise ValueError(
                f"{CONFIG} says rank {settings['rank']}: the layer {path!r} must have A (inputs, {settings['rank']}) and "
                f"B ({settings['rank']}, outputs). Received: {a} and {b} in {str(folder)!r}"
            )
    if not adapter.adapted:
        raise ValueError(f"The file must hold a LoRA. Received: no array of one in {str(folder)!r}")


def same_shapes(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]], folder: str | Path) -> None:
    """Raise `ValueError` at the first array that the model has no place of that shape for, or that it misses."""
    for name, value in adapter.weights.items():
        wanted = shapes.get(name)
        if wanted is None or tuple(wanted) != value.shape:
            place = "has no place for it" if wanted is None else f"needs {tuple(wanted)}"
            raise ValueError(
                f"The adapter is for another model: this one {place}. Received: {name!r} of shape {value.shape} in {str(folder)!r}"
            )
    missing = [name for name in shapes if name not in adapter.weights]
    if missing:
        raise ValueError(
            f"The adapter is for another model, or not whole: this one needs {missing[0]!r} too. "
            f"Received: {len(adapter.weights)} arrays in {str(folder)!r}"
        )
