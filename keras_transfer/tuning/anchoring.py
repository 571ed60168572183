"""L2-SP: weight decay towards the pretrained weights in place of zero."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ..core.freezing import owners
from ..core.numbers import number
from ..core.registry import register
from ..core.selection import Where, select
from ..core.surgery import functional, own_trainable_variables, own_variables


class L2SP(keras.regularizers.Regularizer):
    """`strength / 2 * sum((w - start)^2)`, or of w itself where there is no start, on top of what the weight had (`inner`)."""

    def __init__(self, strength: float, start: keras.Variable | None = None, inner: Any = None) -> None:
        self.strength, self.start, self.inner = strength, start, inner

    def __call__(self, w: Any) -> Any:
        away = ops.cast(w, "float32")
        if self.start is not None:
            away = ops.subtract(away, self.start)
        penalty = ops.multiply(self.strength / 2, ops.sum(ops.square(away)))
        return penalty if self.inner is None else penalty + ops.cast(self.inner(w), "float32")


@register("anchored_model", kind="model")
class AnchoredModel(keras.Model):
    """The same graph over the same layers, whose weights know where they started; `l2_sp` makes it.

    The start values are weights of its own that never train, so a file keeps them; the regularizers, which a file loses,
    are put on again whenever the model is made. Its training step is Keras' own. `anchored` holds the positions, among the
    layers with weights (`core.freezing.owners`), of those that are pulled to their start.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        *,
        anchored: Sequence[int],
        strength: float = 0.01,
        head_strength: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self.anchored, self.strength, self.head_strength = list(anchored), strength, head_strength
        for position, (_, layer) in enumerate(owners(self)):
            held = position in self.anchored
            for place, variable in enumerate(own_trainable_variables(layer)):
                start = self._start_of(variable, f"start_{position}_{place}") if held else None
                variable.regularizer = L2SP(strength if held else head_strength, start, variable.regularizer)

    @property
    def start_values(self) -> list[keras.Variable]:
        """The weights that hold the start; they are none of the network."""
        return own_variables(self)

    def _start_of(self, variable: keras.Variable, name: str) -> keras.Variable:
        start = self.add_weight(shape=variable.shape, dtype="float32", trainable=False, autocast=False, name=name)
        start.assign(
            ops.copy(variable)
        )  # on JAX an assigned variable is the same memory, which a step would give up twice
        return start

    def release(self) -> keras.Model:
        """The plain model over the same layers, without start values and with the regularizers that it had before."""
        for _, layer in owners(self):
            for variable in own_trainable_variables(layer):
                if isinstance(variable.regularizer, L2SP):
                    variable.regularizer = variable.regularizer.inner
        return keras.Model(self.input, self.output, name=self.name)

    def get_config(self) -> dict[str, Any]:
        own = {"anchored": list(self.anchored), "strength": self.strength, "head_strength": self.head_strength}
        return {**super().get_config(), **own}


def l2_sp(
    model: keras.Model, where: Where = "backbone", *, strength: float = 0.01, head_strength: float = 0.01
) -> AnchoredModel:
    """Pull what `where` names to the weights that it has now, and all other weights to zero, while they train.

    Li, Grandvalet & Davoine 2018, Explicit Inductive Bias for Transfer Learning with Convolutional Networks
    (arXiv:1802.01483): with S the weights under `where` and w0 their values at this call, the loss gains
    `Omega(w) = strength / 2 * ||w_S - w0_S||^2 + head_strength / 2 * ||w_rest||^2`.

    Kernels, biases, scale and shift of normalisations count, as far as they train; BatchNorm's statistics are not anchored.
    The paper's alpha and beta are `strength` and `head_strength`, both from 0; the optimizer should then have no weight
    decay of its own. Call it before `compile` (in a strategy's scope where the model was made in one). It returns a model
    over the same layers; `.keras` files keep it with its start values, and training goes on from them after a reload. A
    regularizer that a weight has stays and is added. `release()` gives the plain model back.

    Raises `ValueError` for strengths that are negative, for a model that is anchored already, and for a subclassed model,
    which has no graph.

    Example:
        model = kt.tuning.l2_sp(model, "backbone", strength=0.1)
        kt.tuning.full(model, data)
    """
    strength, head_strength = number("strength", strength, least=0.0), number("head_strength", head_strength, least=0.0)
    graph = functional(model)
    if graph is None:
        raise ValueError(
            "L2-SP needs a Functional or a built Sequential model, whose layers a file names. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    named = owners(graph)
    if any(isinstance(v.regularizer, L2SP) for _, layer in named for v in own_trainable_variables(layer)):
        raise ValueError(f"The model is anchored already; call its `release()` first. Received: model {model.name!r}")
    chosen = {id(layer) for _, layer in select(model, where)}
    anchored = [position for position, one in enumerate(named) if id(one.layer) in chosen]
    if not any(own_trainable_variables(named[position].layer) for position in anchored):
        raise ValueError(f"`where` must name a layer with weights to train. Received: where={where!r}")
    return AnchoredModel(
        graph.input,
        graph.output,
        name=model.name,
        anchored=anchored,
        strength=strength,
        head_strength=head_strength,
    )
