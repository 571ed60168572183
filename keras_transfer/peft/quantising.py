"""Whole models with frozen kernels in 4 bits: quantised in place, or while their weights are read."""

from collections.abc import Callable
from pathlib import Path

import keras

from ..core.freezing import freeze
from ..core.messages import nearest
from ..core.selection import NamedLayer, Where, select
from ..core.surgery import compile_arguments, forget_traces
from .adapters import compile_anew, go_home
from .blocks import transformer_blocks
from .injected import Injected
from .injection import wrap
from .places import places
from .quantized import CLASSES, put_off
from .rematerialised import rematerialise
from .replaced import put_in_place
from .targets import head_layers

MODES = ("nf4", "int8", "int4")


def quantize(model: keras.Model, mode: str = "nf4", where: Where = "all-linear", *, remat: bool = False) -> keras.Model:
    """Keep the kernels of frozen layers in few bits, so that a large model fits; put LoRA on top, and it is QLoRA.

    Dettmers et al. 2023, QLoRA (arXiv:2305.14314). `"nf4"` is the paper's: 4-bit NormalFloat with double quantisation, 4.13
    bits a weight, on Dense and EinsumDense, each made anew in the compute dtype where it is used. `"int8"` and `"int4"`
    are Keras' own. Layer after layer is quantised in place, and its float kernel is gone before the next one's turn; `load_quantized`
    never has them all. Embeddings, norms and biases stay float. What is rounded stays rounded: `eject` gives no float
    kernel back, `dequantize` and `merge` give the rounded one.

    where: which layers; those below it that are neither Dense nor EinsumDense stay as they are. "all-linear" leaves out the
    head, which is to train.
    remat: let the transformer blocks run again in the backward pass instead of keeping their activations (`keras.remat`).

    Returns an `Injected` model without adapters, all of it frozen, whose `.keras` file holds the codes; for Keras' modes
    without `remat` the model itself. Raises `ValueError` for an unknown mode and where nothing is left to quantise.

    Example: `model = kt.peft.inject(kt.peft.quantize(model, "nf4"), "lora", where="all-linear", rank=16)`
    """
    if mode not in MODES:
        raise ValueError(f"Unknown mode. {nearest(str(mode), MODES)} Received: mode={mode!r}")
    chosen = _linear(model, where)
    if mode != "nf4":
        if isinstance(model, Injected):
            raise ValueError(f"Quantise with Keras' {mode!r} first, and inject then. Received: an injected model")
        layers = {id(one.layer) for one in chosen}
        model.quantize(mode, filters=lambda layer: id(layer) in layers)
        return rematerialised(model) if remat else model
    injected = _frozen(model)
    paths = places(injected)
    changed = put_in_place((injected, injected.base), "nf4", [paths[id(one.layer)] for one in chosen])
    injected.held.replaced.extend(changed)
    return rematerialised(injected) if remat else injected


def rematerialised(model: keras.Model) -> Injected:
    """Let every transformer block of `model` run again in the backward pass instead of keeping its activations.

    Chen et al. 2016 (arXiv:1604.06174). Example: `model = kt.peft.inject(kt.peft.rematerialised(model), "lora")`
    """
    injected = _frozen(model)
    paths = places(injected)
    blocks = [paths[id(one.layer)] for one in transformer_blocks(injected)]
    injected.held.replaced.extend(put_in_place((injected, injected.base), rematerialise.__name__, blocks))
    return injected


def dequantize(model: Injected) -> keras.Model:
    """Turn the NF4 layers of `model` into float layers again, with the rounded kernels, and let blocks run once.

    Returns the injected model, or its base where it has no adapter. Example: `kt.peft.dequantize(model).save("m.keras")`
    """
    for _, layer in select(model, lambda path, layer: hasattr(layer, "dequantise") or "call" in vars(layer)):
        if hasattr(layer, "dequantise"):
            layer.dequantise()
        if hasattr(layer.call, "rematerialised"):
            del layer.call
    model.held.replaced.clear()
    forget_traces((model, model.base))
    return model if model.injections else go_home(model)


def load_quantized(
    build: Callable[[], keras.Model],
    weights: str | Path,
    mode: str = "nf4",
    where: Where = "all-linear",
    *,
    remat: bool = False,
) -> Injected:
    """Build a model and read its weights, each kernel quantised as it comes: no two float kernels ever stand side by side.

    `build` makes the model, without weights; nothing of it is allocated while it runs. `weights` is a `.weights.h5` file of
    the whole model. Otherwise as `quantize`, which takes Keras' modes too.

    Example:
        kt.peft.load_quantized(lambda: keras_hub.models.BertBackbone.from_preset(folder, load_weights=False),
                               folder / "model.weights.h5")
    """
    if mode != "nf4":
        raise ValueError(
            f"Only 'nf4' is quantised while it is read; use `quantize` for the others. Received: mode={mode!r}"
        )
    if not Path(weights).is_file():
        raise ValueError(f"There must be a '.weights.h5' file to read. Received: weights={str(weights)!r}")
    with keras.StatelessScope(initialize_variables=False):
        model = build()
    chosen = _linear(model, where)
    for _, layer in chosen:
        put_off(layer)
    with keras.StatelessScope():
        pass  # leaving it, Keras makes what it put off, one variable after the other
    model.load_weights(str(weights))
    injected = _frozen(model)
    paths = places(injected)
    injected.held.replaced.extend([paths[id(one.layer)], "nf4"] for one in chosen)
    return rematerialised(injected) if remat else injected


def _frozen(model: keras.Model) -> Injected:
    """`model` as an injected model; what was not one is wholly frozen then, and compiled where it was."""
    if isinstance(model, Injected):
        return model
    arguments, injected = compile_arguments(model), freeze(wrap(model))
    if arguments:
        compile_anew(injected, arguments)
    return injected


def _linear(model: keras.Model, where: Where) -> list[NamedLayer]:
    """The float Dense and EinsumDense layers that `where` names."""
    trained = [id(one) for one in head_layers(model)] if isinstance(where, str) and where == "all-linear" else []
    named = [one for one in select(model, where) if id(one.layer) not in trained]
    chosen = [one for one in named if type(one.layer) in CLASSES and one.layer.quantization_mode is None]
    if not chosen:
        raise ValueError(
            "`where` names no Dense or EinsumDense whose kernel is float; each can be quantised once. "
            f"Received: where={where!r}"
        )
    return chosen
