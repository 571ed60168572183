"""`save_adapters` and `load_adapters`: small safe files of an adapter and its head, which HF PEFT reads and writes too."""

from dataclasses import replace
from pathlib import Path

import keras

from .adapter_arrays import PEFTS, arrays_of, assign, base_hash, layers_at, wanted_shapes, whole
from .adapter_files import write_adapter
from .adapter_reading import read_adapter, same_shapes
from .adapters import adapter_names, adapters_called, check_injected, check_name
from .injected import Injected
from .injection import inject
from .names import Names, module_names
from .places import places


def save_adapters(model: Injected, folder: str | Path, name: str | None = None) -> Path:
    """Write the adapter `name` (the only one by default) and the head that trained with it into `folder`.

    The folder gets `adapter_model.safetensors` and `adapter_config.json`, HF PEFT's own layout. For BERT, DistilBERT,
    RoBERTa and Llama of keras-hub the names are those of `transformers`, so that `PeftModel.from_pretrained(base, folder)`
    reads it; for any other model they are the paths of its layers, and the file is for `load_adapters`. Beside the arrays
    stands the SHA-256 of the frozen weights, which `load_adapters` compares; a quantised base has none, so that what was
    trained on it goes onto the float model too.

    LoRA with its biases, and prompt tuning as HF PEFT does it (`at="tokens", pool="prompt"`). Raises `ValueError` for what
    the layout has no place for (`kt.save` writes any method), and for numbers that are not finite.

    Example: `kt.peft.save_adapters(model, "adapters/german")`
    """
    check_injected(model)
    name = _one_name(model, name)
    names = _names(model)
    contents, layers, saved = arrays_of(model, name), layers_at(model), model.heads.values(name)
    for path, variables in saved.items():
        contents.weights.update(whole(path, layers[path], variables))
    task = "CAUSAL_LM" if names.family == "LlamaBackbone" else None
    task = "SEQ_CLS" if any(names.of_path[path].startswith("classifier") for path in saved) else task
    return write_adapter(folder, replace(contents, base=base_hash(model, saved), task=task), names)


def load_adapters(model: keras.Model, folder: str | Path, name: str | None = None, *, head: bool = True) -> Injected:
    """Inject the adapter of `folder` into `model` and return the injected model; a file that does not fit changes nothing.

    model: the base, or an injected model that gets one more adapter. name: the new adapter's, "default" unless you say.
    head: whether layers that the file holds whole (a classifier) take the place of the model's; False leaves them out.

    Names, shapes and types of all arrays are checked first, and the hash of the base where the file has one. Raises
    `ValueError` with what does not fit. The adapter and the head train, as `inject` leaves them.

    Example: `model = kt.peft.load_adapters(model, "adapters/german", "german")`
    """
    name = check_name(model, "default" if name is None else name)
    names = _names(model)
    contents = read_adapter(folder, names)
    layers = layers_at(model)
    saved = {path: layers[path] for path in contents.saved} if head else {}
    taken = {key: value for key, value in contents.weights.items() if head or _path(key) not in contents.saved}
    same_shapes(replace(contents, weights=taken), wanted_shapes(model, contents, saved), folder)
    base = base_hash(model, contents.saved)
    if contents.base and base and contents.base != base:
        raise ValueError(
            f"The adapter was trained on other weights: those of the base must have the hash {contents.base[:12]}...; load the "
            f"same base in the same dtype, before it is trained. Received: a base with {base[:12]}... for {str(folder)!r}"
        )
    where: list[keras.layers.Layer] | None
    where, settings = [layers[path] for path in contents.adapted], contents.settings
    if contents.method == "prompt":
        where, settings = None, settings | PEFTS | {"start": "normal"}
    injected = inject(model, contents.method, where, train=list(saved.values()) or None, name=name, **settings)
    assign(injected, name, contents)
    return injected


def _one_name(model: Injected, name: str | None) -> str:
    known = adapter_names(model)
    if name is None and len(known) == 1:
        return known[0]
    if not known:
        raise ValueError(
            "The model has no adapter any more: `merge` and `eject` take them out. Save them before. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    if name is None:
        raise ValueError(f"The model has several adapters; say which one. Received: name=None, one of {known}")
    adapters_called(model, name)
    return name


def _names(model: keras.Model) -> Names:
    base = model.base if isinstance(model, Injected) else model
    return module_names(base, dict.fromkeys(places(model).values()))


def _path(key: str) -> str:
    return key.rpartition("/")[0]
