"""The focal loss: the paper's formula, Keras' own on rows, cross-entropy at gamma 0, and a file that keeps it."""

import keras
import numpy as np
import pytest

from keras_transfer.core.registry import get
from keras_transfer.core.saving import load, save
from keras_transfer.tuning import FocalCrossentropy, full

LABELS = np.array([0, 2, 1, 2])
LOGITS = np.random.default_rng(0).normal(0, 2, (4, 3)).astype("float32")


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
def test_the_papers_formula(gamma):
    p = softmax(LOGITS)[np.arange(4), LABELS]
    right = (-((1 - p) ** gamma) * np.log(p)).mean()
    assert float(FocalCrossentropy(gamma)(LABELS, LOGITS)) == pytest.approx(right, rel=1e-5)
    assert float(FocalCrossentropy(gamma, from_logits=False)(LABELS, softmax(LOGITS))) == pytest.approx(right, rel=1e-5)


def test_all_kinds_of_labels_are_one_and_rows_are_keras_own():
    rows = np.eye(3)[LABELS]
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)(rows, LOGITS)
    for labels in (LABELS, LABELS[:, None], LABELS.astype("float32"), rows):
        assert float(FocalCrossentropy()(labels, LOGITS)) == pytest.approx(float(theirs), rel=1e-6)


def test_shares_of_a_label_add_up():
    """As many samples as classes, so that a row of shares and integers could be mistaken for each other."""
    logits, shares = LOGITS[:3], np.array([[0.3, 0.7, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    p = softmax(logits)
    right = -(shares * (1 - p) ** 2 * np.log(p)).sum(-1).mean()
    assert float(FocalCrossentropy()(shares, logits)) == pytest.approx(right, rel=1e-5)


def test_at_gamma_zero_it_is_cross_entropy():
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS)
    assert float(FocalCrossentropy(0.0)(LABELS, LOGITS)) == pytest.approx(float(plain), rel=1e-5)


def test_an_easy_sample_counts_less():
    """At p = 0.9 a hundredth of the cross-entropy, as the paper says."""
    easy = np.log([[0.9, 0.1]]).astype("float32")
    focal, plain = (FocalCrossentropy(gamma)(np.array([0]), easy) for gamma in (2.0, 0.0))
    assert float(plain) / float(focal) == pytest.approx(100, rel=1e-3)


@pytest.fixture
def fitted():
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 3))
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    random = np.random.default_rng(0)
    pictures, labels = random.uniform(0, 1, (12, 6, 6, 3)).astype("float32"), np.arange(12) % 3
    history = full(model, pictures, labels, loss="focal", epochs=2, verbose=0)
    return model, history, pictures, labels


def test_a_fit_takes_the_word_and_sees_what_the_model_puts_out(fitted):
    model, history, x, y = fitted
    assert isinstance(model.loss, FocalCrossentropy)
    assert not model.loss.from_logits
    p = model.predict(x, verbose=0)[np.arange(12), y]
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx((-((1 - p) ** 2) * np.log(p)).mean(), rel=1e-4)
    assert history.history["loss"][1] != history.history["loss"][0]


def test_a_file_keeps_it(fitted, tmp_path):
    model, _, x, y = fitted
    for again in (load(save(model, tmp_path / "m.keras")), keras.models.load_model(tmp_path / "m.keras")):
        assert again.loss.get_config() == model.loss.get_config()
        assert again.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))
    config = FocalCrossentropy(1.5, from_logits=False).get_config()
    assert FocalCrossentropy.from_config(config).get_config() == config
    assert get("loss", "focal") is FocalCrossentropy


def test_labels_are_checked_as_for_cross_entropy():
    x = keras.Input((6, 6, 3))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    with pytest.raises(ValueError, match="must be 0 to 2"):
        full(model, np.zeros((4, 6, 6, 3)), np.arange(4), loss="focal", verbose=0)
    with pytest.raises(ValueError, match="`gamma` must be"):
        FocalCrossentropy(-1.0)
