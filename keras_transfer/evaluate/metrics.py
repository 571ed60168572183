"""How good a classifier is on held-out pictures: accuracy, macro F1, calibration, every class, the confusion matrix."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import Bin, expected_calibration_error, reliability
from .two_classes import POSITIVE, two_class_figures

if TYPE_CHECKING:  # a report of answers that are at hand needs no Keras
    import keras

    from ..export.litert import LiteRTModel

BATCH = 32
_TOLD = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}


@dataclass(frozen=True, eq=False)
class Report:
    """The answers of a model on labelled pictures, and every figure that follows from them.

    probabilities: (n, classes) float32; targets: (n,) int; class_names: one a class; names: one a picture (its path, or
    its number); split: which pictures; noun: what they are, pictures or texts. Prints as a table, in Jupyter as HTML.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    split: str = "given"
    noun: str = "pictures"

    @property
    def predicted(self) -> np.ndarray:
        """The class with the largest probability, (n,) int."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> np.ndarray:
        """The largest probability of every picture, (n,)."""
        return self.probabilities.max(1)

    @property
    def accuracy(self) -> float:
        """The share of pictures whose predicted class is the true one."""
        return float((self.predicted == self.targets).mean())

    @property
    def macro_f1(self) -> float:
        """The mean F1 over the classes that occur among the labels or the predictions."""
        seen = np.union1d(self.targets, self.predicted)
        return float(np.mean([self.per_class[index]["f1"] for index in seen]))

    @cached_property
    def per_class(self) -> list[dict[str, Any]]:
        """A row a class: name, precision, recall, f1, support. A figure without a picture to measure it on is 0."""
        from sklearn.metrics import precision_recall_fscore_support

        labels = range(len(self.class_names))
        columns = precision_recall_fscore_support(self.targets, self.predicted, labels=labels, zero_division=0)
        return [
            {"name": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(self.class_names, *columns, strict=True)
        ]

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts (true class, predicted class)."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.targets, self.predicted, labels=range(len(self.class_names)))

    @property
    def right(self) -> np.ndarray:
        """Whether the predicted class is the true one, (n,) bool."""
        return self.predicted == self.targets

    @cached_property
    def reliability(self) -> list[Bin]:
        """Confidence against accuracy in 15 bins, from the least confident on."""
        return reliability(self.confidence, self.right)

    @property
    def expected_calibration_error(self) -> float:
        """The mean distance between confidence and accuracy (Guo et al. 2017, arXiv:1706.04599; 15 bins)."""
        return expected_calibration_error(self.confidence, self.right)

    @cached_property
    def two_classes(self) -> dict[str, Any] | None:
        """For two classes `positive` (the second class), `auroc`, `sensitivity` and `specificity`; else None."""
        if len(self.class_names) != 2:
            return None
        figures = two_class_figures(self.probabilities, self.targets)
        return {"positive": self.class_names[POSITIVE], **figures}

    def to_dict(self) -> dict[str, Any]:
        """The figures as `metrics.json` holds them; a figure that the pictures do not allow is None."""
        rows = {row["name"]: {key: row[key] for key in row if key != "name"} for row in self.per_class}
        figures = {"accuracy": self.accuracy, "macro_f1": self.macro_f1}
        figures["expected_calibration_error"] = self.expected_calibration_error
        return {**figures, **(self.two_classes or {}), "per_class": rows}

    def __str__(self) -> str:
        width = max(5, *(len(name) for name in self.class_names))
        lines = [f"{'class':<{width}}  precision  recall     f1  support"]
        for row in self.per_class:
            figures = f"{row['precision']:>9.3f}  {row['recall']:>6.3f}  {row['f1']:>5.3f}  {row['support']:>7}"
            lines.append(f"{row['name']:<{width}}  {figures}")
        return "\n".join([*lines, *self._lines()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{key}</th>" for key in ("class", "precision", "recall", "f1", "support"))
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(row['name'])}</td><td>{row['precision']:.3f}</td>"
            f"<td>{row['recall']:.3f}</td><td>{row['f1']:.3f}</td><td>{row['support']}</td></tr>"
            for row in self.per_class
        )
        told = "".join(f"<p>{html.escape(line)}</p>" for line in self._lines())
        return f"{told}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _lines(self) -> list[str]:
        """The figures in words, a line for all and a line for two classes."""
        counted = f"{len(self.targets)} {self.split} {self.noun}"
        figures = f"accuracy {self.accuracy:.4f}, macro F1 {self.macro_f1:.4f}"
        lines = [f"{figures}, expected calibration error {self.expected_calibration_error:.4f} on {counted}"]
        if self.two_classes:
            rest = {key: value for key, value in self.two_classes.items() if key != "positive"}
            told = [
                f"{_TOLD[key]} {'not measured' if value is None else f'{value:.4f}'}" for key, value in rest.items()
            ]
            lines.append(f"{', '.join(told)} (positive: {self.two_classes['positive']})")
        return lines


def evaluate(model: "keras.Model | LiteRTModel", data: Any, *, class_names: Sequence[str] | None = None) -> Report:
    """Measure the inference model of `model` (float32, no augmentation), or an exported file, on held-out data.

    model: a Keras model, or a `kt.export.LiteRTModel`, which is measured as it is and needs neither TensorFlow nor Keras.
    data: an `ImageData` (its test split, or else validation), a split of it, arrays `(x, y)`, or a finite data set of
    batches `(x, y)`; labels are whole numbers or one-hot. class_names: those of `data` where it has them, else "0",
    "1", ...
    Raises `ValueError` for labels that are not classes of the model.

    Example: `print(kt.evaluate(model, data))`
    """
    from ..export.litert import LiteRTModel

    if isinstance(model, LiteRTModel):
        from ..export.measure import measure

        answers, labels, paths, split = measure(model, data)
        noun = "texts" if model.reads_texts else "pictures"
        return report_from(answers, labels, model.labels if class_names is None else class_names, paths, split, noun)
    from ..core.texts import for_model
    from ..export.heldout import check_pictures, held_out
    from ..export.inference import inference_model, predict_batch

    inference = inference_model(model)
    pictures = held_out(for_model(data, inference))
    if not pictures.labelled:
        raise ValueError("Measuring needs labels: pass (x, y). Received: pictures alone")
    probabilities, targets = [], []
    for x, y in pictures.batches(BATCH):
        check_pictures(inference, x)
        probabilities.append(predict_batch(inference, x, BATCH))
        targets.append(class_indices(y, inference.output_shape[-1]))
    if not targets:
        raise ValueError(f"There must be at least one picture to measure on. Received: an empty {type(data).__name__}")
    names = class_names if class_names is not None else pictures.class_names
    noun = "texts" if hasattr(pictures.samples, "texts") else "pictures"
    return report_from(
        np.concatenate(probabilities), np.concatenate(targets), names, pictures.names, pictures.split, noun
    )


def report_from(
    probabilities: np.ndarray,
    targets: Any,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    split: str = "given",
    noun: str = "pictures",
) -> Report:
    """The report on answers that are at hand: probabilities (n, classes), targets (n,) or one-hot (n, classes).

    Example: `report_from(inference.predict(x), y, ["ant", "bee"]).accuracy`
    """
    probabilities = np.asarray(probabilities, "float32")
    if probabilities.ndim != 2 or not len(probabilities):
        raise ValueError(f"`probabilities` must have the shape (pictures, classes). Received: {probabilities.shape}")
    count, classes = probabilities.shape
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(1).sum())
        raise ValueError(
            f"`probabilities` must be finite; did the training diverge? Received: {bad} of {count} rows that are not"
        )
    indices = class_indices(targets, classes)
    labels = tuple(str(index) for index in range(classes)) if class_names is None else tuple(map(str, class_names))
    pictures = tuple(str(index) for index in range(count)) if names is None else tuple(map(str, names))
    if len(labels) != classes or len(set(labels)) != classes:
        raise ValueError(f"`class_names` must be {classes} different names, one a class. Received: {list(labels)}")
    if not len(indices) == len(pictures) == count:
        counts = f"{count} probabilities, {len(indices)} targets, {len(pictures)} names"
        raise ValueError(f"There must be one target and one name a picture. Received: {counts}")
    return Report(probabilities, indices, labels, pictures, split, noun)


def class_indices(labels: Any, classes: int) -> np.ndarray:
    """Integer or one-hot labels as class indices (n,); a `ValueError` for what is neither."""
    found = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == classes and classes > 1:
        found = found.argmax(1)
    found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    whole = found.astype("int64") if found.ndim == 1 and found.dtype.kind in "iubf" else None
    if whole is None or (whole != found).any() or (len(whole) and (whole.min() < 0 or whole.max() >= classes)):
        raise ValueError(
            f"Labels must be whole numbers from 0 to {classes - 1}, or one-hot of shape (pictures, {classes}). "
            f"Received: {found.dtype} of shape {np.shape(labels)}{_range(found)}"
        )
    return whole


def _range(found: np.ndarray) -> str:
    return f" from {found.min()} to {found.max()}" if found.size and found.dtype.kind in "iubf" else ""
