"""The figures of a yes/no task: AUROC, sensitivity and specificity; positive is the second class."""

from typing import Any

import numpy as np

POSITIVE = 1


def two_class_figures(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """AUROC, sensitivity and specificity of answers on two classes; None where the pictures do not hold the class.

    With the second class positive: `sensitivity = TP / (TP + FN)`, the share of the positive pictures that are found;
    `specificity = TN / (TN + FP)`, the share of the others that are left alone. AUROC is the chance that a positive
    picture has a larger probability than a negative one, ties counted half (Hanley & McNeil 1982; Fawcett 2006): it
    asks for the order alone, whatever threshold is chosen later. Pictures of one class alone have none.

    probabilities: (n, 2). targets: (n,) class indices. Raises `ValueError` for another number of classes.

    Example: `two_class_figures(report.probabilities, report.targets)["auroc"]`
    """
    from sklearn.metrics import roc_auc_score

    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise ValueError(f"AUROC is for two classes: shape (pictures, 2). Received: {probabilities.shape}")
    positive, found = targets == POSITIVE, probabilities.argmax(1) == POSITIVE
    both = positive.any() and not positive.all()
    return {
        "auroc": float(roc_auc_score(positive, probabilities[:, POSITIVE])) if both else None,
        "sensitivity": float(found[positive].mean()) if positive.any() else None,
        "specificity": float((~found[~positive]).mean()) if not positive.all() else None,
    }
