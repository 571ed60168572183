"""The parts of a loaded SavedModel: its function, variables and outputs."""

import hashlib
from typing import Any

import keras
import numpy as np

from ..core.messages import nearest


def function_of(module: Any, signature: str | None, folder: object) -> Any:
    """The function that a layer runs: the module itself, or one of its signatures."""
    signatures = getattr(module, "signatures", {})
    if signature is None and callable(module):
        return module.__call__
    if signature is None:
        raise ValueError(
            "The module can only be run by one of its signatures; give `signature`. "
            f"{nearest('serving_default', signatures)} Received: {str(folder)!r}"
        )
    if signature not in signatures:
        raise ValueError(f"The module has no such signature. {nearest(signature, signatures)} Received: {signature!r}")
    return signatures[signature]


def variables_of(module: Any, function: Any) -> list[tuple[Any, bool]]:
    """The module's variables and whether each may train, in an order that the file fixes."""
    listed = list(getattr(module, "variables", ()) or ())
    listed = listed or [one for trace in _traces(function) for one in trace.variables]
    trains = getattr(module, "trainable_variables", None)
    trains = [one for one in listed if one.trainable] if trains is None else trains
    may = {id(one) for one in trains}
    unique = {id(one): one for one in [*trains, *listed]}
    return [(one, key in may) for key, one in unique.items()]


def _traces(function: Any) -> list[Any]:
    """A signature is one trace, a function may have several."""
    return list(getattr(function, "concrete_functions", None) or [function])


def inputs_by_name(function: Any, signature: str, inputs: Any) -> dict[str, Any]:
    """What a signature is called with: its inputs by their names; one alone needs none."""
    names = list(function.structured_input_signature[1])
    given = inputs if isinstance(inputs, dict) else {names[0]: inputs}
    if set(given) != set(names):
        raise ValueError(
            f"The signature {signature!r} takes inputs named {names}; give a dict of them. Received: {list(given)}"
        )
    return given


def check_output(function: Any, name: str | None) -> None:
    """Refuse the name of an output that `function` does not have."""
    gives = _traces(function)[0].structured_outputs
    if name is not None and not isinstance(gives, dict):
        raise ValueError(f"The module gives one output; leave `output` out. Received: output={name!r}")
    if name is not None and name not in gives:
        raise ValueError(f"The module has no such output. {nearest(name, gives)} Received: output={name!r}")


def what_it_takes(function: Any) -> str:
    """A sentence with the inputs that `function` was made for."""
    return "The module takes " + " or ".join(str(one.structured_input_signature) for one in _traces(function)[:3]) + "."


def told(spec: Any) -> dict[str, Any]:
    """Shape and type of one output as JSON."""
    if spec.shape.rank is None:
        raise ValueError(
            f"The module does not say which shape it gives; give `output_shape`, that of one example. Received: {spec}"
        )
    return {"shape": list(spec.shape), "dtype": spec.dtype.name}


def from_told(told: Any) -> Any:
    """KerasTensors of what `told` gave."""
    if isinstance(told, dict) and set(told) == {"shape", "dtype"}:
        return keras.KerasTensor(tuple(told["shape"]), told["dtype"])
    if isinstance(told, dict):
        return {name: from_told(one) for name, one in told.items()}
    return [from_told(one) for one in told]


def digest(value: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
