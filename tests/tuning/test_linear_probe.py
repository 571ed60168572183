"""The linear probe: the minimum of its objective, a penalty that was chosen well, exact in the head."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core.features import features
from keras_transfer.core.logistic import PATH, _folds, probe
from keras_transfer.core.registry import get
from keras_transfer.tuning import linear_probe


def clouds(classes, n=120, d=6, noise=1.5, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = random.normal(size=(classes, d))[y] + noise * random.normal(size=(n, d))
    return x * random.uniform(0.01, 50, d) + random.normal(size=d) * 9, y


def softmax(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def objective(kernel, bias, x, y, l2, weights=None):
    """mean CE + l2 / 2 ||W||^2 on standardised features, from the head on raw ones."""
    weights = np.ones(len(x)) if weights is None else weights
    p = softmax(x @ kernel + bias)[np.arange(len(y)), y]
    penalty = ((kernel * x.std(axis=0)[:, None]) ** 2).sum()
    return -(weights * np.log(p)).sum() / weights.sum() + l2 / 2 * penalty


@pytest.mark.parametrize(("classes", "d"), [(2, 6), (3, 6), (3, 200), (2, 200)])
def test_it_is_the_minimum_of_its_objective(classes, d):
    """Number: the gradient, written here, is zero; also where there are more features than pictures."""
    x, y = clouds(classes, d=d)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(x))
    found = probe(x, y, weights, l2=0.1)
    deviation = x.std(axis=0)
    z = (x - x.mean(axis=0)) / deviation
    w = found.kernel * deviation[:, None]
    gap = (softmax(x @ found.kernel + found.bias) - np.eye(classes)[y]) * weights[:, None] / weights.sum()
    assert np.abs(z.T @ gap + 0.1 * w).max() < 1e-4
    assert np.abs(gap.sum(axis=0)).max() < 1e-4
    here = objective(found.kernel, found.bias, x, y, 0.1, weights)
    random = np.random.default_rng(2)
    for _ in range(5):
        step = random.normal(size=w.shape) * 1e-2 / deviation[:, None]
        assert objective(found.kernel + step, found.bias, x, y, 0.1, weights) > here


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_the_penalty_is_that_of_the_least_held_out_loss(noise):
    """Number: cross-validation written here, over the whole path, fit by fit."""
    x, y = clouds(3, noise=noise)
    found = probe(x, y, folds=4, seed=2)
    fold = _folds(y, 4, 2)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    losses = {}
    for l2 in PATH:
        if l2 >= found.told["l2"] / 30:
            total = 0.0
            for part in range(4):
                one = _unscaled(z[fold != part], y[fold != part], l2)
                total -= np.log(
                    softmax(z[fold == part] @ one[0] + one[1])[np.arange((fold == part).sum()), y[fold == part]]
                ).sum()
            losses[l2] = total / len(y)
    assert found.told["l2"] == min(losses, key=losses.get)
    assert found.told["held_out_loss"] == pytest.approx(min(losses.values()), rel=0.05)


def _unscaled(z, y, l2):
    from sklearn.linear_model import LogisticRegression

    one = LogisticRegression(C=1 / (l2 * len(z)), max_iter=5000, tol=1e-7).fit(z, y)
    return one.coef_.T, one.intercept_


def test_folds_are_even_over_every_class_and_the_only_one_of_a_class_stays():
    labels = np.array([0] * 11 + [1] * 4 + [2] + [3] * 2)
    fold = _folds(labels, 5, seed=0)
    assert fold[15] == -1
    for label in (0, 1, 3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold[fold >= 0]).max() - np.bincount(fold[fold >= 0]).min() <= 1
    assert (fold == _folds(labels, 5, seed=0)).all()
    assert (fold != _folds(labels, 5, seed=1)).any()


def test_one_picture_of_each_class_has_no_choice_and_a_constant_feature_no_weight():
    x = np.eye(3, 5) * 7
    found = probe(x, np.arange(3))
    assert found.told["l2"] == 1.0
    assert "no class has two" in found.told["chosen_by"]
    assert (np.argmax(x @ found.kernel + found.bias, axis=1) == np.arange(3)).all()
    assert np.abs(found.kernel[3:]).max() == 0


def test_a_feature_that_is_noise_beside_the_others_has_no_weight():
    """Its kernel would be so large that a file of 16 bits cannot hold it (a dead feature of MiniLM has 2e-9)."""
    x, y = clouds(3)
    dead = 1e-9 * np.random.default_rng(0).normal(size=(len(x), 1))
    found = probe(np.concatenate([x, dead], axis=1), y)
    assert np.abs(found.kernel[-1]).max() == 0
    np.testing.assert_allclose(found.kernel[:-1], probe(x, y).kernel, atol=1e-4)


def test_units_of_the_features_do_not_matter():
    x, y = clouds(3)
    scales = np.array([1e-3, 1, 10, 7, 1e4, 3])
    one, other = probe(x, y), probe(x * scales + 5, y)
    logits = [a @ b.kernel + b.bias for a, b in ((x, one), (x * scales + 5, other))]
    np.testing.assert_allclose(softmax(logits[0]), softmax(logits[1]), atol=1e-3)
    assert one.told["l2"] == other.told["l2"]


def classifier(classes=3):
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((24, 24, 3))
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{block}")(x)
    return build_classifier(keras.Model(pixels, x), classes, preprocessing="tf")


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(3), (30, 12, 6))
    x = random.integers(0, 200, (48, 24, 24, 3)).astype("float32")
    x[np.arange(48), :, :, y] += 55 * random.random((48, 1, 1))
    return x, y


def test_it_is_in_the_head(pictures, tmp_path):
    from keras_transfer.core.saving import load, save

    model, (x, y) = classifier(), pictures
    assert get("strategy", "linear_probe") is linear_probe
    history = linear_probe(model, x, y, validation_data=pictures, seed=4, verbose=0)
    f = features(model, x)
    found = probe(f, y, seed=4)
    logits = model.predict(x, verbose=0)
    np.testing.assert_allclose(logits, f @ found.kernel + found.bias, rtol=1e-3, atol=1e-3)
    assert history.stages[0]["l2"] == found.told["l2"]
    assert history.history["accuracy"][0] > 0.75
    save(model, tmp_path / "model.keras")
    np.testing.assert_allclose(load(tmp_path / "model.keras").predict(x, verbose=0), logits, atol=1e-7)


def test_a_given_penalty_is_taken_and_class_weights_count(pictures):
    x, y = pictures
    kernels = {}
    for name, settings in {
        "plain": {},
        "balanced": {"class_weight": "balanced"},
        "weights": {"class_weight": {0: 48 / 90, 1: 48 / 36, 2: 48 / 18}},
        "samples": {"sample_weight": (48 / (3 * np.array([30, 12, 6])))[y]},
    }.items():
        model = classifier()
        assert linear_probe(model, x, y, l2=0.3, verbose=0, **settings).stages[0]["l2"] == 0.3
        kernels[name] = np.array(model.get_layer("head").get_layer("logits").kernel)
    np.testing.assert_allclose(kernels["balanced"], kernels["weights"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(kernels["balanced"], kernels["samples"], rtol=1e-4, atol=1e-7)
    assert np.abs(kernels["balanced"] - kernels["plain"]).max() > 1e-2


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"l2": 0.0}, ValueError, "`l2` must be a number above 0"),
        ({"folds": 1}, ValueError, "`folds` must be a whole number of at least 2"),
        ({"class_weight": {0: 1.0}}, ValueError, "with each of 0 to 2"),
        ({"class_weight": "even"}, ValueError, "'balanced' or"),
        ({"epochs": 3}, TypeError, "Received: epochs=3"),
    ],
)
def test_wrong_settings_are_named(pictures, settings, error, message):
    with pytest.raises(error, match=message):
        linear_probe(classifier(), *pictures, verbose=0, **settings)


@pytest.mark.slow
def test_on_real_photos(data_root):
    """Effect: the figure of a logistic regression by hand (0.863, DATA.md), from one call."""
    from keras_transfer.data import load_images

    data = load_images(data_root / "hymenoptera", image_size=128)
    weights = data_root / "backbones" / "mobilenet_0.25_128.weights.h5"
    model = build_classifier("mobilenet_0.25", 2, weights=weights, input_shape=(128, 128, 3))
    history = linear_probe(model, data, verbose=0)
    assert history.history["val_accuracy"][0] > 0.82
