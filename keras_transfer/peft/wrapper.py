"""What every injected method is made of: a layer around one layer of the base, and named adapters with a switch each."""

import inspect
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from ..core.messages import nearest
from ..core.registry import registered
from ..core.surgery import scoped_path


class Adapter(keras.layers.Layer):
    """The weights of one named adapter at one layer, its settings, and its gate: 1.0 it counts, 0.0 it does not.

    The gate is a variable, so that a traced `predict` sees it turn.
    """

    def __init__(self, name: str, dtype: Any, settings: dict[str, Any]) -> None:
        super().__init__(name=name, dtype=dtype)
        self.settings = settings
        self.gate = self.add_weight(name="gate", shape=(), initializer="ones", trainable=False)
        self.built = True

    @property
    def idle(self) -> bool:
        """Whether it is switched off, and so has no part in the output."""
        return not ops.convert_to_numpy(self.gate)

    def add(self, name: str, shape: Iterable[int], initializer: Any = "zeros", **settings: Any) -> keras.Variable:
        """Make a weight of that name; it is read as the attribute of that name."""
        weight = self.add_weight(name=name, shape=tuple(shape), initializer=initializer, **settings)
        setattr(self, name, weight)
        return weight

    def call(self, x: Any) -> Any:
        """An adapter has weights and no computation of its own; the injection around it computes."""
        return x


class Injection(keras.layers.Layer):
    """Stands in the place of one layer of the base, which it holds as `base`, and adds to it what its adapters say.

    A method is a subclass under `@register("name", kind="injection")`. It writes

    - `handles(layer)`: whether it can stand around that layer;
    - `add_weights(adapter, **settings)`: makes the weights of one `Adapter` by `adapter.add(name, shape, initializer)`; its
      keyword arguments are the method's settings, with their defaults;
    - `call(x, training=None, **kwargs)`: `self.base(x, **kwargs)`, and what each adapter of `self.adapters.values()` adds
      times its `adapter.gate`, so that at the start and with every gate at 0 it is the base, to the bit;
    - `merge(adapter)`: folds one adapter into the base's weights; or `can_merge = False` and `merge_help`, what to do instead;
    - `rate`: a learning rate of AdamW that suits the method;
    - `default_where`: what `where=None` means, a `where`; query and value unless it says otherwise.

    `path` is the ownership path of the base, of which the weights' paths are made.
    """

    can_merge = True
    merge_help = ""
    identity = True  # whether a new adapter leaves the base's output as it is, to the bit
    rate = 1e-3  # of AdamW, what `kt.tuning.tune` takes where none is given
    default_where: Any = None  # what `where=None` means; None is query and value, known by architecture

    def __init__(self, base: keras.layers.Layer, path: str) -> None:
        if getattr(base, "lora_enabled", False):
            raise ValueError(
                "A layer under Keras' own `enable_lora` takes no adapter of ours; build the model without. "
                f"Received: layer {path!r}"
            )
        super().__init__(name=base.name, dtype=plain_policy(base))
        self.path_of_base = path
        self.borrowed: list[str] = []
        self.base = base
        if base.activity_regularizer is not None:  # of what comes out here; a folded step has no output of the base
            self.borrow("activity_regularizer", None)
        self.adapters: dict[str, Adapter] = {}
        self.supports_masking = base.supports_masking
        # Arguments are bound as the base's own call binds them; `training` reaches the base through Keras' call context.
        self._call_signature = inspect.signature(base.call)
        self.built = True

    @property
    def method(self) -> str:
        """The name under which the method is registered."""
        return next(name for name, kind in registered("injection").items() if kind is type(self))

    @property
    def innermost(self) -> keras.layers.Layer:
        """The layer of the base, past other injections that stand around it."""
        return self.base.innermost if isinstance(self.base, Injection) else self.base

    @classmethod
    def handles(cls, layer: keras.layers.Layer) -> bool:
        """Whether the method can stand around `layer`."""
        raise NotImplementedError

    @classmethod
    def where_in(cls, model: keras.Model, settings: dict[str, Any]) -> Any:
        """What `where=None` means in `model`: `default_where`, unless the method looks at the model first."""
        return cls.default_where

    @classmethod
    def spread(
        cls, model: keras.Model, layers: list[keras.layers.Layer], settings: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The settings for each of the layers, in the model's order; the same for all unless the method says otherwise."""
        return [settings] * len(layers)

    @classmethod
    def begin(cls, model: Any, name: str, settings: dict[str, Any]) -> None:
        """Give a new adapter of an injected model first values that depend on the model; nothing, for most methods."""

    @classmethod
    def settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        """All settings of the method, those in `given` and the defaults; an unknown one is a `ValueError`."""
        parameters = inspect.signature(cls.add_weights).parameters
        known = {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
        for name in given:
            if name not in known:
                raise ValueError(f"The method has no such setting. {nearest(name, known)} Received: {name!r}")
        return {**known, **{name: value.item() if hasattr(value, "item") else value for name, value in given.items()}}

    def add_adapter(self, name: str, settings: dict[str, Any]) -> Adapter:
        """Make the adapter `name`, switched on; its weights' paths are `<path of the base>/<name>/<weight>`."""
        with scoped_path(self.path_of_base):
            adapter = Adapter(name, self.dtype_policy, dict(settings))
            self.adapters[name] = adapter
            self.add_weights(adapter, **settings)
        return adapter

    def add_weights(self, adapter: Adapter) -> None:
        """Make the weights of `adapter`; a method has its settings as keyword arguments here."""
        raise NotImplementedError

    def check_merge(self) -> None:
        """A `ValueError` where the adapters cannot be folded into this base."""
        if not self.can_merge:
            raise ValueError(
                f"The method {self.method!r} cannot be merged: {self.merge_help}. Received: layer {self.name!r}"
            )

    def merge(self, adapter: Adapter) -> None:
        """Fold `adapter` into the weights of the base."""
        raise NotImplementedError

    def borrow(self, attribute: str, instead: Any) -> None:
        """Take a setting of the base (its activation, say) over as our own, and leave `instead` there."""
        self.borrowed.append(attribute)
        setattr(self, attribute, getattr(self.base, attribute))
        setattr(self.base, attribute, instead)

    def release(self) -> keras.layers.Layer:
        """The base as it was, with what was borrowed; an injection in between that borrows the same takes it over."""
        for attribute in self.borrowed:
            holder: Any = self.base
            while isinstance(holder, Injection) and attribute not in ("activity_regularizer", *holder.borrowed):
                holder = holder.base
            if isinstance(holder, Injection) and attribute not in holder.borrowed:
                holder.borrowed.append(attribute)
            setattr(holder, attribute, getattr(self, attribute))
        self.borrowed = []
        return self.base

    def get_config(self) -> dict[str, Any]:
        """What the injection is, for people and for cache keys; its model's configuration is what makes it again."""
        return {
            "path": self.path_of_base,
            "base": self.base.get_config(),
            "adapters": {name: dict(one.settings) for name, one in self.adapters.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Injection":
        """An injection is nothing without its model; a `ValueError`."""
        raise ValueError(
            "An injection is made again by its model alone: copy an injected model with `copy.deepcopy`, or kt.save and kt.load. "
            f"Received: {cls.__name__} at {config.get('path')!r}"
        )

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As the base's."""
        return self.base.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """As the base's."""
        return self.base.compute_mask(inputs, previous_mask)

    def __getattr__(self, name: str) -> Any:
        """Other layers may ask the base for `kernel`, `embeddings`, `units`, ...; private names are not handed out."""
        if name.startswith("_") or "base" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return getattr(self.__dict__["base"], name)


def plain_policy(layer: keras.layers.Layer) -> keras.DTypePolicy:
    """The dtype policy of `layer` without its quantisation: what is added computes beside the quantised product."""
    mixed = layer.compute_dtype != layer.variable_dtype
    return keras.DTypePolicy(f"mixed_{layer.compute_dtype}" if mixed else layer.compute_dtype)


def add_gated(y: Any, addition: Any, gate: Any) -> Any:
    """`y + gate * addition` in the dtype of `y`.

    As a difference: Keras' `add` takes (1, 4, 1) for a bias of the last axis where that has 4 places, too.
    """
    return ops.subtract(y, ops.cast(ops.multiply(addition, ops.negative(gate)), y.dtype))


def add_to(variable: keras.Variable, addition: Any) -> None:
    """Add to a weight in float32, and round once."""
    total = ops.add(ops.cast(variable.value, "float32"), ops.cast(addition, "float32"))
    variable.assign(ops.cast(total, variable.dtype))
