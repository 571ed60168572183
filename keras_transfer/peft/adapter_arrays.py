"""The arrays of an adapter and its head, out of an injected model and into it, and the hash of the base under them."""

import hashlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from ..core.selection import named_layers
from ..core.surgery import own_variables
from .adapter_files import PROMPT, Adapter
from .bias import BitFit, bias_of
from .heads import BASE
from .injected import Injected
from .lora import LoRA
from .lora_shapes import Linear, form_of
from .places import places, wrappers
from .prompt import PromptTuning
from .prompt_places import kind_of, places_of
from .wrapper import Injection

PEFTS = {"at": "tokens", "pool": "prompt"}  # where HF PEFT puts a prompt, and leaves it

# What is saved of a layer that trains in place, by the names of its weights here and there.
_WHOLE = {
    "kernel": "kernel",
    "gamma": "kernel",
    "scale": "kernel",
    "bias": "bias",
    "beta": "bias",
}


def layers_at(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The base's own layer at each path: what an injection there holds, not the injection."""
    paths = places(model)
    return {paths[id(layer)]: layer for _, layer in named_layers(model) if id(layer) in paths}


def arrays_of(model: Injected, name: str) -> Adapter:
    """What the adapter `name` holds, without its head; a method that HF PEFT's layout is not for is a `ValueError`."""
    paths = places(model)
    standing = [(paths[id(one)], one, one.adapters[name]) for one in wrappers(model) if name in one.adapters]
    if all(type(one) is PromptTuning for _, one, _ in standing):
        return _prompt(name, [adapter for *_, adapter in standing])
    others = [one.method for _, one, _ in standing if type(one) not in (LoRA, BitFit)]
    settings = [adapter.settings for _, one, adapter in standing if type(one) is LoRA]
    if others or not settings:
        raise ValueError(
            "Adapter files hold LoRA or prompt tuning; save the whole model with kt.save. "
            f"Received: adapter {name!r} of the method {(others or [standing[0][1].method])[0]!r}"
        )
    if any(one != settings[0] for one in settings):
        raise ValueError(
            f"An adapter has the same settings at every layer. Received: {name!r} with {settings[0]} and others"
        )
    weights: dict[str, np.ndarray] = {}
    for path, one, adapter in standing:
        if type(one) is LoRA:
            weights |= {f"{path}/a": _flat_a(one, adapter.lora_a), f"{path}/b": _flat_b(one, adapter.lora_b)}
        if adapter.bias is not None:  # also of other layers, with `bias="all"`
            weights[f"{path}/bias"] = _numbers(bias_of(_inner(one))).ravel() + _numbers(adapter.bias).ravel()
    tables = [path for path, one, _ in standing if type(one) is LoRA and isinstance(one.base, keras.layers.Embedding)]
    return Adapter("lora", dict(settings[0]), weights, embeddings=tuple(tables))


def _prompt(name: str, adapters: list[Any]) -> Adapter:
    settings = adapters[0].settings
    if any(settings[key] != value for key, value in PEFTS.items()):
        raise ValueError(
            "HF PEFT puts a prompt among the tokens and leaves it in the output, `at='tokens', pool='prompt'`; save this model "
            f"with kt.save. Received: adapter {name!r} with at={settings['at']!r}, pool={settings['pool']!r}"
        )
    (prompt,) = (one.prompt for one in adapters if hasattr(one, "prompt"))
    return Adapter("prompt", {"length": settings["length"]}, {PROMPT: _numbers(prompt)})


def _inner(injection: Injection) -> keras.layers.Layer:
    """The base's own layer, inside all injections around it."""
    layer: Any = injection
    while isinstance(layer, Injection):
        layer = layer.base
    return layer


def _flat_a(one: LoRA, a: Any) -> np.ndarray:
    if isinstance(one.form, Linear):
        if one.form.both:
            raise ValueError(
                "HF PEFT has no LoRA with a pair of matrices for each expert; save the whole model with kt.save. "
                f"Received: layer {one.path_of_base!r}"
            )
        return _numbers(a).reshape(-1, a.shape[-1])
    return _numbers(a)


def _flat_b(one: LoRA, b: Any) -> np.ndarray:
    return _numbers(b).reshape(b.shape[0], -1) if isinstance(one.form, Linear) else _numbers(b)


def _numbers(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float32")


def whole(path: str, layer: keras.layers.Layer, variables: list[keras.Variable]) -> dict[str, np.ndarray]:
    """All weights of a layer that is saved whole, an einsum kernel as a matrix; `variables` hold its values."""
    found = {}
    for own, variable in zip(own_variables(layer), variables, strict=True):
        part = _WHOLE.get(own.name)
        if part is None:
            raise ValueError(
                f"HF PEFT's layout has no place for the weight {own.name!r}; save the whole model with kt.save. "
                f"Received: layer {path!r} ({type(layer).__name__}), which trains"
            )
        found[f"{path}/{part}"] = _numbers(variable).reshape(_whole_shape(layer, own))
    return found


def _whole_shape(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        inputs = int(np.prod(Linear(layer).inputs))
        return (inputs, int(np.prod(shape)) // inputs) if variable.name == "kernel" else (int(np.prod(shape)),)
    return shape


def wanted_shapes(model: keras.Model, contents: Adapter, saved: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape that each array of the file must have for this model."""
    shapes: dict[str, tuple[int, ...]] = {}
    layers = layers_at(model)
    if contents.method == "prompt":
        tokens = next(one for one in places_of(model, "tokens") if kind_of(one) == "tokens")
        shapes[PROMPT] = (contents.settings["length"], tokens.output_dim)
    for path in contents.adapted:
        layer, rank = layers[path], contents.settings["rank"]
        if not LoRA.handles(layer):
            continue
        form = form_of(layer)
        a, b = form.shapes(rank)
        flat = isinstance(form, Linear)
        shapes[f"{path}/a"] = (int(np.prod(a[:-1])), rank) if flat else a
        shapes[f"{path}/b"] = (rank, int(np.prod(b[1:]))) if flat else b
    biased = {"none": [], "lora_only": contents.adapted}.get(contents.settings.get("bias", "none"), list(layers))
    for path in biased:
        if path not in contents.saved and (bias := bias_of(layers[path])) is not None:
            shapes[f"{path}/bias"] = (int(np.prod(bias.shape)),)
    for path, layer in saved.items():
        for variable in own_variables(layer):
            if variable.name in _WHOLE:
                shapes[f"{path}/{_WHOLE[variable.name]}"] = _whole_shape(layer, variable)
    return shapes


def assign(model: Injected, name: str, contents: Adapter) -> None:
    """Give the adapter `name` and its head the numbers of `contents`, whose shapes have been checked."""
    paths, layers, weights = places(model), layers_at(model), contents.weights
    for one in wrappers(model):
        adapter, path = one.adapters.get(name), paths[id(one)]
        if adapter is None:
            continue
        for attribute, key in (("lora_a", f"{path}/a"), ("lora_b", f"{path}/b"), ("prompt", PROMPT)):
            if (variable := getattr(adapter, attribute, None)) is not None:
                variable.assign(weights[key].reshape(variable.shape))
        if getattr(adapter, "bias", None) is not None:
            difference = weights[f"{path}/bias"] - _numbers(bias_of(_inner(one))).ravel()
            adapter.bias.assign(difference.reshape(adapter.bias.shape))
    for path, variables in model.heads.values(name).items():
        for own, variable in zip(own_variables(layers[path]), variables, strict=True):
            variable.assign(weights[f"{path}/{_WHOLE[own.name]}"].reshape(variable.shape))


def base_hash(model: keras.Model, saved: Iterable[str]) -> str | None:
    """SHA-256 of the kernels that an adapter leaves as they are, in the order of the layers; None of a quantised base.

    Biases and norms are left out: an adapter may train them. Where another adapter's head is in place the base's own counts.
    """
    digest = hashlib.sha256()
    heads = _heads_of_base(model) if isinstance(model, Injected) else {}
    for path, layer in layers_at(model).items():
        if path in saved:
            continue
        if getattr(layer, "quantization_mode", None) is not None or hasattr(layer, "dequantise"):
            return None
        for variable in heads.get(path) or own_variables(layer):
            if len(variable.shape) > 1:
                digest.update(f"{tuple(variable.shape)} {variable.dtype}\n".encode())
                digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def _heads_of_base(model: Injected) -> dict[str, list[keras.Variable]]:
    """The base's own values of the layers that train with adapters."""
    heads = model.heads
    return {} if heads.live == BASE else {path: heads.kept[BASE, path] for path in heads.paths}
