"""The classifier of one row of a comparison, built anew: from the catalogue, or around a copy of the user's own backbone."""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..backbones import build_classifier
from ..core.files import sha256


def contender(
    base: str, weights: Any, data: Any, *, scratch: bool, augmentation: str, preprocessing: Any = None
) -> keras.Model:
    """A fresh classifier for the pictures of `data`; `weights` may be a model of the user's, which stays as it is.

    scratch: with random weights, also for the user's model, whose copy is then built anew from its config.
    """
    shape = (*data.image_size, data.channels)
    settings = {"input_shape": shape, "augmentation": augmentation}
    if not isinstance(weights, keras.Model):
        return build_classifier(base, len(data.class_names), weights=None if scratch else weights, **settings)
    copy = keras.models.clone_model(weights)
    if not scratch:
        copy.set_weights(weights.get_weights())
    word = None if scratch else "imagenet"  # "as it comes": nothing is downloaded for a model
    return build_classifier(copy, len(data.class_names), weights=word, preprocessing=preprocessing, **settings)


def fingerprint(weights: Any) -> str | None:
    """What tells the weights of one comparison from those of another."""
    if isinstance(weights, keras.Model):
        digest = hashlib.sha256()
        for value in weights.get_weights():
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()
    if weights is None or weights == "imagenet":
        return weights
    path = Path(weights).expanduser()
    return sha256(path) if path.is_file() else str(weights)  # what is not there is told by `build_classifier`
