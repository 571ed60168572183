"""Read `.h5` weight files, Keras 3's and the older kind, and set them against a model before anything is assigned."""

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras

from ..core.surgery import walk

Shape = tuple[int, ...]
_KERAS_3 = re.compile(r"(?:^|.*/)vars/\d+")
_STATE = re.compile(r"(?:optimizer|compile_metrics|_?loss_tracker|.*seed_generator)/.*")  # no weights of the model


@dataclass(frozen=True)
class WeightsFile:
    """What stands in a file: the shape of each dataset, and for the older kind the datasets of each layer in order."""

    path: Path
    shapes: dict[str, Shape]
    layers: dict[str, list[str]] | None  # None: Keras 3


@dataclass
class Comparison:
    """How a file and a model go together: the first thing that does not fit, and what belongs to which variable."""

    problem: str | None = None
    assign: list[tuple[keras.Variable, str]] = field(default_factory=list)  # of the older kind only
    left_over: dict[str, Shape] = field(default_factory=dict)


def read(path: str | Path) -> WeightsFile:
    """Read the names and shapes of a weights file; what is no such file is a `ValueError` that says what to do."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"`weights` must be 'imagenet', None or an .h5 file that exists. Received: {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"`weights` must be an .h5 file, not a folder. Received: {str(path)!r}")
    if path.suffix == ".keras":
        raise ValueError(
            "A .keras file is a whole model, not a weights file; load it with keras.models.load_model and give that "
            f"model as `backbone`. Received: {str(path)!r}"
        )
    wanted = "`weights` must be an .h5 file of Keras weights"
    try:
        with h5py.File(path) as file:
            shapes = _shapes(file, path)
            layers = _older_layers(file)
    except OSError as error:
        raise ValueError(f"{wanted}; this is no whole HDF5 file ({error}). Received: {str(path)!r}") from error
    if layers is None:
        shapes = {key: shape for key, shape in shapes.items() if _KERAS_3.fullmatch(key) and not _STATE.fullmatch(key)}
    else:
        shapes = {key: shapes[key] for datasets in layers.values() for key in datasets if key in shapes}
    if not shapes:
        raise ValueError(f"{wanted}; this file holds none. Received: {str(path)!r}")
    return WeightsFile(path, shapes, layers)


def _shapes(file: h5py.File, path: Path) -> dict[str, Shape]:
    """The shape of every array that stands in the file; links are not followed."""
    shapes: dict[str, Shape] = {}
    elsewhere: list[str] = []

    def visit(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        if isinstance(thing, h5py.Dataset):
            shapes[name] = tuple(thing.shape)
            if thing.external or thing.is_virtual:
                elsewhere.append(name)

    file.visititems(visit)
    if elsewhere:
        raise ValueError(
            f"The weights must stand in the file itself, but {elsewhere[0]!r} points out of it. Received: {str(path)!r}"
        )
    return shapes


def _older_layers(file: h5py.File) -> dict[str, list[str]] | None:
    """The datasets of each layer with weights, in the file's order; None for a file of Keras 3."""
    root = file["model_weights"] if isinstance(file.get("model_weights"), h5py.Group) else file
    if not any(key.startswith("layer_names") for key in root.attrs):
        return None
    prefix = "" if root is file else "model_weights/"
    found = {}
    for layer in _attribute(root, "layer_names"):
        group = root.get(layer)
        if isinstance(group, h5py.Group) and (weights := _attribute(group, "weight_names")):
            found[layer] = [f"{prefix}{layer}/{weight}" for weight in weights]
    return found


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names; a long one is stored in numbered pieces."""
    keys = [name] if name in group.attrs else []
    while not (keys and keys[0] == name) and f"{name}{len(keys)}" in group.attrs:
        keys.append(f"{name}{len(keys)}")
    return [word.decode() if isinstance(word, bytes) else str(word) for key in keys for word in group.attrs[key]]


def compare(model: keras.Model, file: WeightsFile) -> Comparison:
    """Set every weight of the model against the file, from input to output; assigns nothing."""
    result = _compare_keras_3(model, file) if file.layers is None else _compare_older(model, file)
    if result.problem is None and result.left_over and not _is_classifier(model, file, result.left_over):
        name, shape = next(iter(result.left_over.items()))
        result.problem = f"the file holds more than the model and one classifier layer: {name!r} of shape {shape}"
    return result


def _compare_keras_3(model: keras.Model, file: WeightsFile) -> Comparison:
    wanted = _written_by(model)
    for name, (layer, shape) in wanted.items():
        if file.shapes.get(name) != shape:
            return Comparison(_mismatch(layer, shape, file.shapes.get(name)))
    return Comparison(left_over={name: shape for name, shape in file.shapes.items() if name not in wanted})


def _written_by(model: keras.Model) -> dict[str, tuple[str, Shape]]:
    """What Keras writes for this model: dataset -> (layer, shape), from input to output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        with h5py.File(path) as file:
            owner = {name: file[name.rpartition("/")[0]].attrs["name"] for name in read(path).shapes}
            found = {name: (str(owner[name]), tuple(file[name].shape)) for name in owner}
    order = {layer.name: position for position, layer in enumerate(walk(model))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[1][0], len(order))))


def _compare_older(model: keras.Model, file: WeightsFile) -> Comparison:
    """The older kind names layers; where the model's names are other ones (running numbers), the order decides."""
    theirs = file.layers or {}
    mine = [layer for layer in model.layers if layer.weights]
    by_name = all(layer.name in theirs for layer in mine)
    words = [layer.name for layer in mine] if by_name else list(theirs)
    result = Comparison()
    for position, layer in enumerate(mine):
        datasets = theirs[words[position]] if position < len(words) else []
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        for index, variable in enumerate(variables):
            shape = file.shapes.get(datasets[index]) if index < len(datasets) else None
            if shape != tuple(variable.shape):
                result.problem = _mismatch(layer.name, tuple(variable.shape), shape)
                return result
            result.assign.append((variable, datasets[index]))
    used = {name for _, name in result.assign}
    result.left_over = {name: shape for name, shape in file.shapes.items() if name not in used}
    return result


def _mismatch(layer: str, expected: Shape, found: Shape | None) -> str:
    there = "the file has none there" if found is None else f"the file has {found}"
    return f"layer {layer!r} needs weights of shape {expected}, {there}"


def _is_classifier(model: keras.Model, file: WeightsFile, left_over: dict[str, Shape]) -> bool:
    """Whether what is left over is one classifier: a Dense or 1 x 1 convolution on the model's channels, with bias."""
    layer_of = {name: layer for layer, datasets in (file.layers or {}).items() for name in datasets}
    homes = {layer_of.get(name, name.rpartition("/")[0]) for name in left_over}
    kernels = [shape for shape in left_over.values() if len(shape) > 1]
    biases = [shape for shape in left_over.values() if len(shape) == 1]
    if len(homes) != 1 or len(kernels) != 1 or len(kernels) + len(biases) != len(left_over) or len(biases) > 1:
        return False
    *window, channels, classes = kernels[0]
    return window in ([], [1, 1]) and channels == model.output_shape[-1] and biases in ([], [(classes,)])
