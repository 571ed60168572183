"""`TFHubLayer`: any TF2 SavedModel in the format of the TensorFlow Hub as a layer of Keras 3."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..core.registry import register
from .module_folder import MODEL, known_folder, module_hash, open_module, remember
from .module_parts import (
    check_output,
    digest,
    from_told,
    function_of,
    inputs_by_name,
    told,
    variables_of,
    what_it_takes,
)
from .module_safety import forbidden_operations
from .module_saving import CarriesModule


@register("tfhub", kind="module")
class TFHubLayer(CarriesModule, keras.layers.Layer):
    """A module of the TensorFlow Hub (or any TF2 SavedModel) as a layer: frozen or trainable, saved with its files.

    `module` is a folder with `saved_model.pb`, a `.tar.gz` of one, `https://tfhub.dev/...` or a model of Kaggle, whose
    fetching needs the extra `tfhub`. What it takes and gives is the module's affair: texts `(batch,)` of type "string",
    pictures `(batch, height, width, 3)` in its own scale, one tensor or a dict of them.

    - `signature`: run this one of the module's signatures instead of the module itself; inputs are named as it names them.
    - `output`: of several outputs the one of this name. By default all of them come as a dict.
    - `output_shape`: what one example's output has, for a module that does not say.
    - `trainable`: frozen by default; then the module runs in inference mode also in `fit`. Setting `layer.trainable` later
      works, before `compile`.

    A `.keras` file carries the module's folder and, of its weights, those that training changed; it needs neither network
    nor the first folder. A SavedModel is a program. Out of a file it is loaded when its hash is the one in the file's
    config, and when all its operations compute: one that reads files, or calls Python, is refused until
    `kt.backbones.trust_module(hash)` has said that you know it (`tf.keras`' own TFSMLayer refuses every file). What you
    open by its folder is yours to judge.

    Raises `ValueError` for what is no module, and for a name that it does not have, with the nearest. TensorFlow only; not
    compiled by XLA.

    Example: `keras.Sequential([keras.Input((), dtype="string"), TFHubLayer("nnlm-en-dim50.tar.gz"), head])`
    """

    supports_jit = False

    def __init__(
        self,
        module: str | Path | dict[str, Any],
        *,
        signature: str | None = None,
        output: str | None = None,
        output_shape: tuple[int | None, ...] | None = None,
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"A SavedModel runs on TensorFlow: set KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()!r}"
            )
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.signature, self.output_name = signature, output
        self.shape_of_output = None if output_shape is None else tuple(output_shape)
        self.module: Any = None
        self.from_file: dict[int, np.ndarray] = {}
        self.told_outputs: Any = None
        if isinstance(module, dict):  # of a config: the hash, the weights and the outputs
            self.sha256, self.told_outputs = str(module["sha256"]), module["outputs"]
            folder = known_folder(self.sha256)
        else:
            folder = open_module(module)
            self.sha256 = module_hash(folder)
        if folder is not None:
            remember(self.sha256, folder)
            self._attach(folder)
        elif isinstance(module, dict):
            self._make_weights(module["weights"])

    def _attach(self, folder: Path) -> None:
        """Load the module, and let our weights be its variables."""
        first = not self.built
        given = {position: weight.value for (*_, position), weight in self.weights_with_told()}
        module, created = _load(folder, given)
        self.folder = folder
        self.function = function_of(module, self.signature, folder)
        check_output(self.function, self.output_name)
        if first:
            variables = variables_of(module, self.function)
            if self.trainable and not any(trains for _, trains in variables):
                raise ValueError(f"The module has nothing to train; leave `trainable` out. Received: {str(folder)!r}")
            places = {id(one): position for position, one in enumerate(created)}
            told = [[list(one.shape), one.dtype.name, trains, places[id(one)]] for one, trains in variables]
            self._make_weights(told)
            for ours, (theirs, _) in zip(self.module_weights, variables, strict=True):
                ours._value = theirs  # from here on Keras and the module write and read one variable
        self.originals = [digest(np.asarray(one)) for one in self.module_weights]
        self.module = module  # kept, and tracked, with its tables

    def weights_with_told(self) -> list[tuple[list[Any], keras.Variable]]:
        """Each weight with what a config says of it: shape, type, whether it may train, which of the module's it is."""
        return list(zip(self.told_weights, self.module_weights, strict=True)) if self.built else []

    def _make_weights(self, told: list[list[Any]]) -> None:
        self.module_weights = [
            self.add_weight(name=f"weight_{index}", shape=shape, dtype=dtype, initializer="zeros", trainable=trains)
            for index, (shape, dtype, trains, _) in enumerate(told)
        ]
        self.told_weights, self.built = told, True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the module gives; in training mode only while it is trainable."""
        if self.module is None:
            raise ValueError(
                "The module travels in the assets of a '.keras' file; load the whole file, or open the module by its "
                f"folder first. Received: layer {self.name!r} with the module {self.sha256[:12]}... not there"
            )
        if self.trainable:
            for loss in getattr(self.module, "regularization_losses", None) or []:
                self.add_loss(loss())
        return self._run(inputs, bool(training) and self.trainable)

    def _run(self, inputs: Any, training: bool) -> Any:
        import tensorflow as tf

        if self.signature is not None:
            given = inputs_by_name(self.function, self.signature, inputs)
            found = self.function(**{name: tf.convert_to_tensor(value) for name, value in given.items()})
        else:
            takes = "training" in self.function.function_type.parameters
            found = self.function(inputs, **({"training": training} if takes else {}))
        if self.output_name is not None:
            found = found[self.output_name]
        elif isinstance(found, dict) and len(found) == 1 and self.signature is not None:
            (found,) = found.values()
        if self.shape_of_output is not None:
            found = tf.ensure_shape(found, (None, *self.shape_of_output))
        return found

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Shapes and types of the outputs, by tracing the module on the inputs'."""
        import tensorflow as tf

        if self.module is None:
            return from_told(self.told_outputs)
        given = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), inputs)
        try:
            traced = tf.function(lambda x: self._run(x, False), autograph=False).get_concrete_function(given)
        except (TypeError, ValueError) as error:
            if "signature" in str(error) and "Received" in str(error):
                raise
            raise ValueError(f"{what_it_takes(self.function)} Received: {given}") from error
        self.told_outputs = keras.tree.map_structure(told, traced.structured_outputs)
        return from_told(self.told_outputs)

    def get_config(self) -> dict[str, Any]:
        """Hash, weights and outputs of the module, and no path: the folder lies in the file's assets."""
        return {
            **super().get_config(),
            "module": {"sha256": self.sha256, "weights": self.told_weights, "outputs": self.told_outputs},
            "signature": self.signature,
            "output": self.output_name,
            "output_shape": self.shape_of_output,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TFHubLayer":
        """Only what a file may say: the hash of a module, never where to take one from."""
        told = config.get("module")
        if not isinstance(told, dict) or set(told) != {"sha256", "weights", "outputs"}:
            raise ValueError(
                f"A file names a module by its hash, and carries it; it opens no path and no address. Received: {told!r}"
            )
        return cls(**config)

    def forbidden(self, folder: Path) -> list[str]:
        """What the module in `folder` does beside computing."""
        return _forbidden(folder)


def _forbidden(folder: Path) -> list[str]:
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / MODEL).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"The module in the file is no SavedModel ({error}). Received: {MODEL}") from error
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        return ["a graph of TensorFlow 1"]
    return forbidden_operations(
        model.meta_graphs[0], lambda name: getattr(op_def_registry.get(name), "is_stateful", None)
    )


def _load(folder: Path, given: dict[int, Any]) -> tuple[Any, list[Any]]:
    """The module, and its variables in the order in which they are made; those at the places in `given` are not made anew."""
    import tensorflow as tf

    made: list[Any] = []

    def create(make: Any, **settings: Any) -> Any:
        made.append(given[len(made)] if len(made) in given else make(**settings))
        return made[-1]

    try:
        with tf.variable_creator_scope(create):
            return tf.saved_model.load(str(folder)), made
    except (OSError, ValueError, KeyError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            f"The module could not be loaded ({str(error).strip().partition(chr(10))[0][:200]}). "
            f"It must be a TF2 SavedModel. Received: {str(folder)!r}"
        ) from error
