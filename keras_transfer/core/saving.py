"""Save and load whole models with their freeze plan, which a `.keras` file alone can lose."""

import json
import zipfile
from pathlib import Path

import keras

from .files import temporary_sibling
from .freezing import apply_plan, freeze_plan

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
    model = keras.models.load_model(path)
    return apply_plan(model, plan) if plan is not None else model
