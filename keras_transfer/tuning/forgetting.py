"""How much of its old task a model forgets while it learns a new one."""

from typing import Any

import keras

from ..core.feeding import coerce
from ..core.selection import find
from ..core.surgery import functional, steps
from .measure import Measure


class ForgettingMonitor(keras.callbacks.Callback):
    """Measure the accuracy of the source task, whose layers the model shares, before and after every epoch of the target.

    McCloskey & Cohen 1989, Catastrophic Interference in Connectionist Networks; Kirkpatrick et al. 2017 (arXiv:1612.00796).
    With a_e the source accuracy after epoch e, and a_-1 that before the first step: `forgotten = 100 (a_-1 - a_e)` points.

    data: the source task's `(x, y)`, a `tf.data.Dataset`, a `PyDataset` or a split; integer or one-hot labels. head: its
    trained head, a layer or model on what the head of the trained model takes (its pooled features); it is not trained
    here. Or source_model: any model that shares layers with the trained one. One output unit means two classes.

    Every epoch's logs gain `{name}_accuracy`, so that `History` has it and callbacks that come later in the list (a
    `CSVLogger`) see it. `history` holds `epoch` (from -1), `{name}_accuracy` and `target_accuracy` (that of validation, else
    of training; None at -1); `plot()` draws them. A frozen beginning runs once over arrays and splits, and where no weight of
    the source model has changed the accuracy is that of before.

    Raises `ValueError` where the head does not fit or nothing is shared.

    Example:
        monitor = kt.tuning.ForgettingMonitor((old_pictures, old_labels), head=old_model.get_layer("head"))
        kt.fine_tune(model, data, callbacks=[monitor])
        monitor.forgotten, monitor.plot()
    """

    def __init__(
        self,
        data: Any,
        head: keras.layers.Layer | None = None,
        *,
        source_model: keras.Model | None = None,
        name: str = "source",
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        if (head is None) == (source_model is None):
            raise ValueError(
                "Give the source task's `head`, or a whole `source_model`, one of both. "
                f"Received: {'none' if head is None else 'both'}"
            )
        if head is not None and not getattr(head, "built", False):
            raise ValueError(
                f"`head` must be a layer trained on the source task. Received: {head!r}, which is not built"
            )
        if not isinstance(name, str) or not name or name == "target":
            raise ValueError(f"`name` must be a word for the source task, other than 'target'. Received: {name!r}")
        if hasattr(data, "splits"):
            raise ValueError("Give one split of the data, such as `data.validation`. Received: all of them")
        self.head, self.source_model, self.name, self.batch_size = head, source_model, name, batch_size
        self.data = coerce(data)
        self.history: dict[str, list[Any]] = {}
        self._measure: Measure | None = None

    @property
    def forgotten(self) -> float:
        """Points of accuracy that the source task has lost by the last epoch; below 0 where it has gained.

        Where an earlier epoch is kept (`history.best_epoch`), look at `.history`: its first entry is from before the training.
        """
        curve = self.history.get(f"{self.name}_accuracy")
        if not curve:
            raise ValueError("Nothing was measured yet: pass the monitor to a `fit` first. Received: no epoch")
        return 100.0 * (curve[0] - curve[-1])

    def on_train_begin(self, logs: Any = None) -> None:
        source = self.source_model or self._with_head()
        shared = {id(v) for v in self.model.weights} & {id(v) for v in source.weights}
        if not shared:
            raise ValueError(
                "`source_model` must share layers with the model that is trained, else it forgets nothing. "
                f"Received: {source.name!r}, which shares none with {self.model.name!r}"
            )
        self._measure = Measure(source, self.data, self.batch_size)
        self.history = {"epoch": [], f"{self.name}_accuracy": [], "target_accuracy": []}
        self._note(-1, None)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        self._note(epoch, logs.get("val_accuracy", logs.get("accuracy")))
        logs[f"{self.name}_accuracy"] = self.history[f"{self.name}_accuracy"][-1]

    def plot(self) -> Any:
        """A Matplotlib figure: accuracy by epoch, of the source task (from before the first step, epoch -1) and the target."""
        from ..core.plot import Plot

        lost = self.forgotten
        figure = Plot(figsize=(5, 3.4), layout="constrained")
        axis = figure.subplots()
        for task in (self.name, "target"):
            curve = self.history[f"{task}_accuracy"]
            seen = [(e, a) for e, a in zip(self.history["epoch"], curve, strict=True) if a is not None]
            if seen:
                axis.plot(*zip(*seen, strict=True), label=task, marker="o", markersize=3)
        axis.set(title=f"{self.name}: {lost:.1f} points forgotten", xlabel="epoch", ylabel="accuracy")
        axis.locator_params(axis="x", integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
        return figure

    def _note(self, epoch: int, target: float | None) -> None:
        assert self._measure is not None
        self.history["epoch"].append(epoch)
        self.history[f"{self.name}_accuracy"].append(self._measure())
        self.history["target_accuracy"].append(None if target is None else float(target))

    def _with_head(self) -> keras.Model:
        """The model that is trained, up to what its head takes, under the source task's head."""
        graph = functional(self.model)
        if graph is None:
            raise ValueError(
                "A subclassed model has no graph to put `head` on; pass `source_model`. "
                f"Received: {type(self.model).__name__} {self.model.name!r}"
            )
        heads = find("head", self.model)
        features = next((step.inputs[0] for step in steps(graph) if any(step.operation is one for one in heads)), None)
        if features is None:
            raise ValueError(
                f"The head lies inside another layer; pass `source_model`. Received: model {self.model.name!r}"
            )
        try:
            return keras.Model(graph.inputs, self.head(features), name=f"{self.name}_model")  # type: ignore[misc]
        except (ValueError, TypeError) as error:
            raise ValueError(
                "`head` must take what the head of the model takes, of shape "
                f"{tuple(features.shape)}. Received: {self.head.name!r}, which does not"  # type: ignore[union-attr]
            ) from error
