"""The model that comes out of an injection: the base with its layers replaced, and all it takes to save and reload it."""

import copy
from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from ..core.freezing import apply_plan, freeze_plan
from ..core.registry import get, register
from ..core.surgery import compile_arguments, functional
from .heads import BASE, Heads
from .places import adapter_names, places, put_around, wrappers
from .replaced import replace_again
from .wrapper import plain_policy

# Keras has no public name for the class, and changes the bases of a subclass that does not have it. The names are given
# so that the numbers in a user's own names stay as they are.
_INPUT = keras.Input((1,), name="nothing")
Functional = type(keras.Model(_INPUT, _INPUT, name="nothing"))


@register("injected", kind="model")
class Injected(Functional):  # type: ignore[valid-type, misc]
    """A model over the same graph as its base, some of whose layers stand inside injections; `inject` makes it.

    Inputs, outputs, layers and their paths are the base's. What this class does not know it asks the base for
    (`generate`, `preprocessor`, `backbone`, ...), and a keras-hub task reads strings in `fit`, `evaluate` and `predict` as
    before. `base` is the model that was injected, with its layers replaced in place. A `.keras` file holds the base's
    configuration as it was before, the list of injections, what is frozen, and all weights.
    """

    def __init__(
        self,
        base: keras.Model,
        config: dict[str, Any],
        start: dict[str, Any],
        replaced: list[list[str]],
        heads: dict[str, list[str]] | None = None,
        live: str = BASE,
    ) -> None:
        graph = functional(base)
        assert graph is not None  # inject has seen to it
        Functional.__init__(self, inputs=graph.input, outputs=graph.output, name=base.name)
        self.dtype_policy = plain_policy(base)  # `compile` scales the loss of a base in float16
        # Held where Keras does not look: as a sublayer the base would count and log everything twice.
        self.held = SimpleNamespace(
            base=base, config=config, start=start, replaced=[*replaced], heads=None, stepped=True, disabled=False
        )
        self.held.heads = Heads(self, heads or {}, live)

    @classmethod
    def over(cls, base: keras.Model, *arguments: Any) -> "Injected":
        """An injected model over `base`: one that reads strings where the base does."""
        reading = [one for one in type(base).__mro__ if "preprocess_samples" in vars(one) and "fit" in vars(one)]
        return _class_for(reading[0])(base, *arguments) if reading else Injected(base, *arguments)

    @property
    def base(self) -> keras.Model:
        """The model that was injected."""
        return self.held.base

    @property
    def heads(self) -> Heads:
        """The layers of the base that train with the adapters, and their values for each."""
        return self.held.heads

    @property
    def injections(self) -> list[Any]:
        """The injections, outer ones first, in the order of the layers."""
        return wrappers(self)

    @property
    def gates(self) -> list[keras.Variable]:
        """The switches of all adapters."""
        return [adapter.gate for one in self.injections for adapter in one.adapters.values()]

    @property
    def aside(self) -> list[keras.Variable]:
        """State that is no weight of the network: the switches, and what is kept of other adapters' heads."""
        return [*self.gates, *self.heads.variables]

    def keep_weight(self, name: str, like: keras.Variable) -> keras.Variable:
        """A weight of our own that never trains, with the value of another."""
        kept = self.add_weight(shape=like.shape, dtype=like.dtype, trainable=False, autocast=False, name=name)
        kept.assign(ops.copy(like.value))
        return kept

    def forget_weight(self, variable: keras.Variable) -> None:
        """Let a kept weight go."""
        self._untrack_variable(variable)

    def preprocess_samples(self, *args: Any, **kwargs: Any) -> Any:
        """As the base's: strings become what the model takes."""
        return self.base.preprocess_samples(*args, **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As the base would, with its own defaults for what is not given; a `ValueError` within `disabled`."""
        self._check_enabled()  # our own fits compile the whole, and fit a part
        self.base.compile(*args, **kwargs)
        super().compile(**compile_arguments(self.base))

    def make_train_function(self, force: bool = False) -> Any:
        """What `fit` and `train_on_batch` ask for, as Keras makes it; a `ValueError` within `disabled` and where nothing trains."""
        self._check_enabled()
        if not self.trainable_variables:
            raise ValueError(
                "No adapter that trains is active; `kt.peft.activate` one, or `inject` one more. "
                f"Received: model {self.name!r} with the adapters {adapter_names(self)}"
            )
        return super().make_train_function(force)

    def _check_enabled(self) -> None:
        """Within `disabled` the head is the base's, whose values come back, and no adapter has a gradient."""
        if self.held.disabled:
            raise ValueError(
                "What trains within `kt.peft.disabled` would be lost; compile before the block, and fit behind it. "
                f"Received: model {self.name!r} with its adapters disabled"
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the file says; the optimizer gets its variables, and Keras loads their state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.held.stepped:  # else the file has no state, and Keras would say that it skips some
            self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        """Our own weights, and the states of the dropouts' random numbers, which Keras' files leave out.

        A `ValueError` within `disabled`: a file would hold its adapters switched off.
        """
        if self.held.disabled:
            raise ValueError(
                "Save outside `kt.peft.disabled`, where adapters count as they did; `eject` leaves the base alone. "
                f"Received: model {self.name!r} with its adapters disabled"
            )
        super().save_own_variables(store)
        for place, state in enumerate(self._random_states()):
            store[f"random_{place}"] = state

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote."""
        super().load_own_variables({key: store[key] for key in set(store.keys()) if not key.startswith("random_")})
        for place, state in enumerate(self._random_states()):
            state.assign(store[f"random_{place}"])

    def _random_states(self) -> list[keras.Variable]:
        weights = {id(one) for one in self.weights}
        return [one for one in self.variables if id(one) not in weights]

    def get_config(self) -> dict[str, Any]:
        """The base as it was before, what was put around which layer, and what trains."""
        paths, held = places(self), self.held
        injections = [
            {
                "path": paths[id(one)],
                "method": one.method,
                "adapters": {k: dict(v.settings) for k, v in one.adapters.items()},
            }
            for one in self.injections
        ]
        return {
            "base": held.config,
            "start": held.start,
            "replaced": held.replaced,
            "injections": injections,
            "heads": self.heads.layers,
            "live": self.heads.live,
            "plan": freeze_plan(self),
            "stepped": bool(self.compiled and self.optimizer is not None and self.optimizer.built),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Injected":
        """Make the base, inject it as the file says, and freeze what was frozen."""
        # Keras empties what it reads, and the next file needs it again.
        base = keras.saving.deserialize_keras_object(copy.deepcopy(config["base"]), custom_objects=custom_objects)
        replace_again(base, config["replaced"])
        for method, wanted in _rounds(config["injections"]):
            put_around((base,), get("injection", method), wanted)
        more = (config[key] for key in ("base", "start", "replaced", "heads", "live"))
        model = apply_plan(cls.over(base, *more), config["plan"])
        model.held.stepped = config["stepped"]
        return model

    def __getattr__(self, name: str) -> Any:
        """What an injected model does not know, its base may; private names are not handed out."""
        if name.startswith("_") or "held" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.__dict__["held"].base, name)


def _rounds(injections: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Groups that can be put in place at once: of two injections around one layer the outer one comes first."""
    rounds: dict[tuple[int, str], dict[str, Any]] = {}
    above: dict[str, int] = {}
    for one in injections:
        depth = above[one["path"]] = above.get(one["path"], -1) + 1
        rounds.setdefault((depth, one["method"]), {})[one["path"]] = one["adapters"]
    return [(method, wanted) for (_, method), wanted in sorted(rounds.items(), key=lambda item: item[0][0])]


_CLASSES: dict[type, type[Injected]] = {}


def _class_for(reading: type) -> type[Injected]:
    """`Injected` with the string-reading `fit`, `evaluate` and `predict` of a keras-hub task, in files the same class."""
    if reading not in _CLASSES:
        made = type("Injected", (Injected, reading), {"__module__": __name__, "__doc__": Injected.__doc__})
        keras.saving.register_keras_serializable("keras_transfer")(made)
        keras.saving.register_keras_serializable("keras_transfer")(Injected)  # the name in files is this one's
        _CLASSES[reading] = made
    return _CLASSES[reading]
