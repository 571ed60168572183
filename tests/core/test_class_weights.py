"""Balanced class weights: the formula, scikit-learn's, what a fit makes of them, and labels that cannot be counted."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from keras_transfer.core.class_weights import balanced, class_of, refuse_one_class

LABELS = np.array([0] * 6 + [2] * 3 + [3] * 1)


def test_the_formula():
    """w_c = n / (k n_c) with n = 10 labels of k = 3 classes; class 1 does not occur."""
    assert balanced(LABELS) == pytest.approx({0: 10 / (3 * 6), 2: 10 / (3 * 3), 3: 10 / (3 * 1)})
    theirs = compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
    np.testing.assert_allclose(list(balanced(LABELS).values()), theirs)


def test_classes_weigh_alike_and_a_label_one():
    weights = balanced(LABELS)
    of_each = np.array([weights[one] for one in LABELS])
    assert {round(float(of_each[c == LABELS].sum()), 9) for c in (0, 2, 3)} == {round(10 / 3, 9)}
    assert of_each.mean() == pytest.approx(1)
    assert balanced([0, 1, 2, 2, 1, 0]) == dict.fromkeys((0, 1, 2), 1.0)


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS.astype("float32"), np.eye(4)[LABELS], LABELS.tolist()])
def test_all_kinds_of_labels_count_alike(labels):
    assert balanced(labels) == balanced(LABELS)
    assert class_of(labels).tolist() == LABELS.tolist()


def test_a_fit_weighs_each_label_by_its_class():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    x = np.random.default_rng(0).normal(size=(10, 2))
    model.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logits = model.predict(x, verbose=0)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(10), LABELS]
    by_class = np.mean([losses[c == LABELS].mean() for c in (0, 2, 3)])  # every class counts alike
    loss = model.fit(x, LABELS, class_weight=balanced(LABELS), batch_size=10, verbose=0).history["loss"][0]
    assert loss == pytest.approx(by_class, rel=1e-5)


@pytest.mark.parametrize("labels", [[], ["cat", "dog"], [0.5, 1.0], [-1, 0], np.zeros((0, 3))])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(ValueError, match="whole numbers from 0"):
        balanced(labels)


def test_one_class_is_refused():
    for labels in ([1, 1, 1], np.eye(3)[[2, 2]]):
        with pytest.raises(ValueError, match=r"two classes. Received: class [12] in"):
            refuse_one_class(labels)
    refuse_one_class([1])  # a single sample says nothing
    refuse_one_class([1, 0])
