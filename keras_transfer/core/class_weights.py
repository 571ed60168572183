"""Weights of the classes for the loss, so that rare classes count as much as frequent ones."""

from typing import Any

import numpy as np


def balanced(labels: Any) -> dict[int, float]:
    """What each class weighs in the loss, `w_c = n / (k n_c)`: with n labels, n_c of class c, k classes that occur.

    King & Zeng 2001, Logistic Regression in Rare Events Data (Political Analysis 9, 137-163); scikit-learn calls it
    "balanced". Every class weighs n / k in all, and the mean weight of a label is 1, so that the learning rate means
    what it meant. labels: integers (n,) or (n, 1), or one-hot rows (n, k). A class without a label gets no weight.

    Raises `ValueError` where there is no label, or one that is no class.

    >>> balanced([0, 0, 0, 1])
    {0: 0.6666666666666666, 1: 2.0}
    """
    given = np.asarray(labels)
    classes = class_of(given)
    if not len(classes) or classes.dtype.kind not in "iu" or classes.min() < 0:
        raise ValueError(
            "Labels must be whole numbers from 0, or one-hot rows, at least one. "
            f"Received: {given.dtype} of shape {given.shape}"
        )
    found, counts = np.unique(classes, return_counts=True)
    return {int(c): len(classes) / (len(found) * int(n)) for c, n in zip(found, counts, strict=True)}


def refuse_one_class(labels: Any) -> None:
    """Labels to train on must hold two classes; with one there is nothing to tell apart."""
    classes = class_of(np.asarray(labels))
    if len(classes) > 1 and (classes == classes[0]).all():
        raise ValueError(f"The labels must hold at least two classes. Received: class {classes[0]} in every sample")


def class_of(labels: np.ndarray) -> np.ndarray:
    """The class of each label: of integers (n,) or (n, 1) themselves, of one-hot rows the column of the largest."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] != 1:
        return labels.argmax(-1)
    flat = labels.reshape(-1)
    whole = flat.dtype.kind == "f" and np.isfinite(flat).all() and (flat == np.round(flat)).all()
    return flat.astype("int64") if whole or flat.dtype.kind == "b" else flat
