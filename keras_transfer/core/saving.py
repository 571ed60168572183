"""Save and load whole models with their freeze plan, which a `.keras` file alone can lose."""

import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import keras

from .files import temporary_sibling
from .freezing import apply_plan, freeze_plan

WEIGHTS = "model.weights.h5"  # the member with all weights, the optimizer's too
CONFIG = "config.json"  # the member with layers, optimizer and loss
PLAN = "freeze.json"  # a member of the archive; Keras ignores what it does not know


def save(model: keras.Model, path: str | Path) -> Path:
    """Save `model` to a `.keras` file, whole or not at all, with the plan of what is frozen inside.

    `keras.models.load_model` reads the file too; only the plan is then Keras' own (it loses the frozen state of
    layers that make their sublayers in `build`).

    Example: `kt.save(model, "flowers.keras")`
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"The file to save must end in '.keras'. Received: {str(path)!r}")
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {type(model).__name__}")
    with temporary_sibling(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(PLAN, json.dumps(freeze_plan(model)))
    return path


def load(path: str | Path) -> keras.Model:
    """Load a model that `kt.save` (or Keras) wrote, and freeze again what was frozen; a run folder gives its
    `model.keras`.

    The optimizer goes on where it was, also where Keras alone loses what is frozen, and with it the optimizer's state.

    Example: `model = kt.load("saved_models/flowers")`
    """
    path = Path(path)
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"There must be a '.keras' file or a run folder to load. Received: {str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"The file to load must be a whole '.keras' archive; this one is cut short or another format. Received: {str(path)!r}"
        )
    with zipfile.ZipFile(path) as archive:
        plan = json.loads(archive.read(PLAN)) if PLAN in archive.namelist() else None
    if plan is None:
        return keras.models.load_model(path)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = keras.models.load_model(path)
    trained = [id(one) for one in model.trainable_variables]
    apply_plan(model, plan)
    if model.compiled and model.optimizer is not None and [id(one) for one in model.trainable_variables] != trained:
        _restore_optimizer(model, path)
        heard = [one for one in heard if "for optimizer" not in str(one.message)]
    for one in heard:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return model


def _restore_optimizer(model: keras.Model, path: Path) -> None:
    """Keras made the optimizer for weights that are frozen, and could not read its state: make it anew, and read again.

    From the config in the file: that of the one that Keras made knows the rates of other weights than those that trained.
    """
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        model.compile_from_config(json.loads(archive.read(CONFIG))["compile_config"])
        model.load_weights(archive.extract(WEIGHTS, folder))
