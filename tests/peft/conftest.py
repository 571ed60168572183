"""Tiny models of each architecture, with what goes in."""

from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest

SIZES = {"vocabulary_size": 60, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
RANDOM = np.random.default_rng(0)
TOKENS = {"token_ids": RANDOM.integers(5, 60, (4, 8)), "padding_mask": np.ones((4, 8), "int32")}
TOKENS["padding_mask"][1, 5:] = 0
PIXELS = RANDOM.uniform(0, 1, (4, 16, 16, 3)).astype("float32")


def hub() -> SimpleNamespace:
    import keras_hub

    return keras_hub.models


def bert(**more: object) -> keras.Model:
    return hub().BertBackbone(**{**SIZES, "max_sequence_length": 8, **more})


def bert_classifier(layers: int = 2) -> keras.Model:
    return hub().BertTextClassifier(bert(num_layers=layers), num_classes=3, preprocessor=None)


def distil_bert(layers: int = 2) -> keras.Model:
    backbone = hub().DistilBertBackbone(**{**SIZES, "num_layers": layers}, max_sequence_length=8)
    return hub().DistilBertTextClassifier(backbone, num_classes=3, preprocessor=None)


def roberta(layers: int = 2) -> keras.Model:
    backbone = hub().RobertaBackbone(**{**SIZES, "num_layers": layers}, max_sequence_length=8)
    return hub().RobertaTextClassifier(backbone, num_classes=3, preprocessor=None)


def vit(layers: int = 2) -> keras.Model:
    return hub().ViTBackbone(
        image_shape=(16, 16, 3), patch_size=(8, 8), num_layers=layers, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def vit_classifier(layers: int = 2) -> keras.Model:
    return hub().ViTImageClassifier(vit(layers), num_classes=3, preprocessor=None)


def llama(layers: int = 2) -> keras.Model:
    sizes = {"num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16, "intermediate_dim": 32}
    backbone = hub().Llama3Backbone(vocabulary_size=60, num_layers=layers, **sizes)
    return hub().Llama3CausalLM(backbone=backbone, preprocessor=None)


def dense() -> keras.Model:
    x = pixels = keras.Input((16, 16, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    x = keras.layers.Dense(12, activation="gelu", name="first")(x)
    return keras.Model(pixels, keras.layers.Dense(3, name="last")(keras.layers.Dropout(0.1)(x)))


def sequential() -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, activation="relu", name="first")]
    return keras.Sequential([keras.Input((16, 16, 3)), *layers, keras.layers.Dense(3, name="last")])


def built_classifier() -> keras.Model:
    from keras_transfer.backbones import build_classifier

    x = pixels = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, name="conv")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    return build_classifier(keras.Model(pixels, x), 3, augmentation="none", preprocessing="tf")


BERT_INPUT = {**TOKENS, "segment_ids": np.zeros((4, 8), "int32")}
# The model, what goes in, and `where` for LoRA.
ARCHITECTURES: dict[str, tuple[Callable[..., keras.Model], object, object]] = {
    "bert": (bert_classifier, BERT_INPUT, None),
    "distil_bert": (distil_bert, TOKENS, None),
    "roberta": (roberta, TOKENS, None),
    "vit": (vit_classifier, PIXELS, None),
    "llama": (llama, TOKENS, None),
    "dense": (dense, PIXELS, "first"),
    "sequential": (sequential, PIXELS, "first"),
    "built_classifier": (built_classifier, PIXELS * 255, "conv"),
}


def numbers(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(one) for one in model.weights]


def answer(model: keras.Model, x: object) -> np.ndarray:
    """What a model says, not traced."""
    return keras.ops.convert_to_numpy(keras.tree.flatten(model(x, training=False))[0])


def learn(model: keras.Model, scale: float = 0.1, seed: int = 0) -> keras.Model:
    """Give every weight that trains a new value, as if it had learned."""
    random = np.random.default_rng(seed)
    for one in model.trainable_variables:
        one.assign(random.normal(size=one.shape, scale=scale))
    return model


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """Builders of tiny models, `ARCHITECTURES`, and what tests do with them."""
    return SimpleNamespace(**{name: thing for name, thing in globals().items() if not name.startswith("_")})
