"""Where a staged training is, on disk after every epoch, so that a killed one goes on exactly where it was."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.files import temporary_sibling
from ..core.freezing import frozen_variables

FORMAT = 1
STATE = "state.npz"


class Checkpoint:
    """A folder with the variables at the start of the stage that runs, and what has changed since, each file whole or not there.

    BackupAndRestore of Keras is not exact: it knows neither stages nor the best epoch, and forgets the random states
    of Dropout and augmentation. Here every variable of model and optimizer is stored, those that stay as they were at
    the start of the stage only once.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._start: list[np.ndarray] = []
        self._still: set[int] = set()  # what cannot move in this stage need not be looked at

    @property
    def exists(self) -> bool:
        """Whether a training was interrupted here."""
        return (self.folder / STATE).is_file()

    def start_stage(self, model: keras.Model, meta: dict[str, Any]) -> None:
        """Store all variables as they are when a stage starts; `meta` as in `save`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._start, self._still = _values(model.variables), frozen_variables(model)
        name = _start_name(meta["stage"])
        _write(self.folder / name, {f"v{index}": value for index, value in enumerate(self._start)})
        self.save(model, None, meta, None)
        for old in self.folder.glob("start_*.npz"):
            if old.name != name:
                old.unlink()

    def save(self, model: keras.Model, optimizer: Any, meta: dict[str, Any], best: Sequence[np.ndarray] | None) -> None:
        """Store the state after an epoch: what moved since the start of the stage, the optimizer, the best weights."""
        pairs = enumerate(zip(model.variables, self._start, strict=True))
        moving = ((index, value(one), old) for index, (one, old) in pairs if id(one) not in self._still)
        arrays = {f"v{index}": new for index, new, old in moving if not _equal(old, new)}
        if best is not None:
            start = self._weights_of(model, self._start)
            parts = enumerate(zip(model.weights, start, map(plain, best), strict=True))
            may_differ = ((index, old, new) for index, (one, old, new) in parts if id(one) not in self._still)
            arrays |= {f"b{index}": new for index, old, new in may_differ if not _equal(old, new)}
        if optimizer is not None:
            arrays |= {f"o{index}": value for index, value in enumerate(_values(optimizer.variables))}
        meta = {"format": FORMAT, **meta}
        arrays["meta"] = np.frombuffer(json.dumps(meta, default=_python).encode(), dtype=np.uint8)
        _write(self.folder / STATE, arrays)

    def read(self) -> dict[str, Any]:
        """The `meta` of the interrupted training."""
        try:
            with np.load(self.folder / STATE, allow_pickle=False) as stored:
                meta: dict[str, Any] = json.loads(stored["meta"].tobytes())
        except (OSError, KeyError, ValueError) as error:
            text = f"There must be the state of an interrupted training to go on from ({error})."
            raise ValueError(f"{text} Received: {str(self.folder)!r}") from None
        if meta.get("format") != FORMAT:
            raise ValueError(f"The state must have format {FORMAT}. Received: {meta.get('format')!r} in {self.folder}")
        return meta

    def restore_start(self, model: keras.Model) -> None:
        """Put all variables back as they were when the interrupted stage started."""
        with np.load(self.folder / _start_name(self.read()["stage"]), allow_pickle=False) as stored:
            values = [stored[f"v{index}"] for index in range(len(stored.files))]
        variables = model.variables
        shapes = [tuple(value.shape) for value in values], [tuple(variable.shape) for variable in variables]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The interrupted training was of another model. Received: {len(variables)} variables, "
                f"stored are {len(values)} in {str(self.folder)!r}"
            )
        self._start, self._still = values, frozen_variables(model)
        _assign(variables, values)

    def restore(self, model: keras.Model, optimizer: Any) -> None:
        """Put model and optimizer back as they were after the last finished epoch."""
        with np.load(self.folder / STATE, allow_pickle=False) as stored:
            for index, variable in enumerate(model.variables):
                if f"v{index}" in stored:
                    variable.assign(stored[f"v{index}"])
            kept = [stored[name] for name in (f"o{index}" for index in range(len(stored.files))) if name in stored]
            if [one.shape for one in kept] != [tuple(one.shape) for one in optimizer.variables]:
                raise ValueError(
                    "The interrupted training had another optimizer, so it cannot go on. "
                    f"Received: {type(optimizer).__name__} with {len(optimizer.variables)} variables, stored are {len(kept)}"
                )
            _assign(optimizer.variables, kept)

    def best(self, model: keras.Model) -> list[np.ndarray]:
        """The weights that were kept, as `model.get_weights()` gives them."""
        start = self._weights_of(model, self._start)
        with np.load(self.folder / STATE, allow_pickle=False) as stored:
            return [stored.get(f"b{index}", value) for index, value in enumerate(start)]

    @staticmethod
    def _weights_of(model: keras.Model, values: list[np.ndarray]) -> list[np.ndarray]:
        at = {id(variable): index for index, variable in enumerate(model.variables)}
        return [values[at[id(variable)]] for variable in model.weights]


def _start_name(stage: int) -> str:
    return f"start_{stage}.npz"


def _values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [value(variable) for variable in variables]


def value(variable: keras.Variable) -> np.ndarray:
    """A copy of the value, in a type that a file can hold."""
    return np.array(plain(variable.numpy()))


def plain(array: np.ndarray) -> np.ndarray:
    """bfloat16 and float8 as float32, which holds every number of them; NumPy's files do not know those types."""
    return array if array.dtype.isbuiltin == 1 else array.astype("float32")


def _python(thing: Any) -> Any:
    """What a callback wrote in the logs, as JSON has it."""
    return thing.tolist() if hasattr(thing, "tolist") else repr(thing)


def _assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _equal(old: np.ndarray, new: np.ndarray) -> bool:
    return np.array_equal(old, new, equal_nan=old.dtype.kind == "f")


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with temporary_sibling(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
