"""The model that is measured, exported and shipped: no augmentation, float32, class probabilities out."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from ..backbones.text_inputs import text_inputs
from ..core.outputs import gives_logits
from ..core.prefix import split_augmentation
from ..core.surgery import functional, walk

_LOW = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def inference_model(model: keras.Model) -> keras.Model:
    """The deterministic model from pictures to class probabilities that shares its weights with `model`.

    `p = softmax(rest(x))`, where `rest` is `model` without its augmentation; outputs that are probabilities already (a
    softmax or sigmoid at the end) stay. One output unit means two classes: it becomes `[1 - p, p]`, p its sigmoid.
    Shapes: (batch, height, width, channels), or token ids (batch, length), to (batch, classes), float32. A model in mixed
    precision gives its float32 twin, which holds a *copy* of the weights: bfloat16 and float16 neither run in LiteRT nor
    give the same figures.

    Raises `ValueError` for a model with several outputs, and for a subclassed model that has not been built.

    Example: `probabilities = kt.inference_model(model).predict(pictures)`
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {type(model).__name__}")
    with _float32_policy():
        return _inference_model(model, gives_logits(model))


def _inference_model(model: keras.Model, logits: bool) -> keras.Model:
    graph = functional(split_augmentation(model)[1]) or _around(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.outputs[0].shape) != 2:
        shapes = [tuple(tensor.shape) for tensor in graph.outputs]
        raise ValueError(
            "A classifier has one input and one output of shape (batch, classes); a task of keras-hub leaves by its own "
            f"`export(path, format='litert')`. Received: {len(model.inputs)} input(s) and outputs of shapes {shapes}"
        )
    if any(layer.compute_dtype in _LOW for layer in walk(graph)):
        graph = _float32_twin(graph)
    inputs, outputs = graph.inputs[0], graph.outputs[0]
    if outputs.shape[-1] == 1:
        outputs, logits = _both_classes(outputs, logits), True
    if not logits:
        return graph
    names = {layer.name for layer in graph.layers}
    name = next(name for name in ("probabilities", "class_probabilities", None) if name not in names)
    outputs = keras.layers.Activation("softmax", dtype="float32", name=name)(outputs)
    return keras.Model(inputs, outputs, name=model.name)


def predict_batch(inference: keras.Model, x: Any, batch_size: int) -> np.ndarray:
    """Probabilities of one batch, float32; a short batch is filled up, so that the model is traced for one shape."""
    x = np.asarray(x, inference.inputs[0].dtype)
    missing = batch_size - len(x)
    full = x if missing <= 0 else np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
    return np.asarray(inference.predict_on_batch(full), "float32")[: len(x)]


def _both_classes(outputs: keras.KerasTensor, logits: bool) -> keras.KerasTensor:
    """Logits `[0, z]` of two classes from the one unit z; `softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]`."""
    if not logits:
        p = keras.ops.clip(outputs, 1e-7, 1 - 1e-7)
        outputs = keras.ops.log(p) - keras.ops.log(1 - p)
    return keras.ops.concatenate([keras.ops.zeros_like(outputs), outputs], axis=-1)


def _around(model: keras.Model) -> keras.Model:
    """A graph with a subclassed model as its one step, in inference mode."""
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not isinstance(shape, (tuple, list)) or not all(isinstance(size, int) or size is None for size in shape):
        raise ValueError(
            "A subclassed model must have been built on one input, so that its shape is known: call it once on a batch "
            f"(with training=False). Received: {type(model).__name__} {model.name!r}"
        )
    inputs = keras.Input(tuple(shape[1:]), name="picture")
    return keras.Model(inputs, model(inputs, training=False), name=model.name)


@contextlib.contextmanager
def _float32_policy() -> Iterator[None]:
    """New models take the global policy where their config names none: float32 while ours are built."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _float32_twin(graph: keras.Model) -> keras.Model:
    """The same layers computing in float32, with a copy of the weights."""
    config = keras.saving.serialize_keras_object(graph)
    config.pop("compile_config", None)
    classes = {type(layer).__name__: type(layer) for layer in walk(graph)}
    own = {name: cls for name, cls in classes.items() if not cls.__module__.startswith("keras.")}
    twin = keras.saving.deserialize_keras_object(_in_float32(config), custom_objects=own)
    twin.set_weights(
        [np.asarray(value, "float32") if value.dtype.kind not in "iub" else value for value in graph.get_weights()]
    )
    if (given := text_inputs(graph)) is not None:
        text_inputs(twin).adopt(given)  # type: ignore[union-attr]
    return twin


def _in_float32(config: Any, key: str = "") -> Any:
    """A serialised config with every low-precision dtype and policy replaced by float32."""
    if isinstance(config, dict):
        if key == "policy" and config.get("name") in _LOW:
            return {**config, "name": "float32"}
        policy = str(config.get("class_name")).endswith("DTypePolicy")
        return {
            name: _in_float32(value, "policy" if policy and name == "config" else name)
            for name, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_in_float32(value, key) for value in config)
    return "float32" if key == "dtype" and config in _LOW else config
