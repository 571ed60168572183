"""The nearest class mean as a Dense layer: the distances of the paper, the likeliest scale, and it holds on real photos."""

import keras
import numpy as np
import pytest

from keras_transfer.core.features import features
from keras_transfer.core.registry import get
from keras_transfer.fewshot import nearest_mean


def left_out_likelihood(f, y, scale):
    """The mean log-likelihood, every sample against means that do not know it, by the definition: one at a time."""
    total, sure = 0.0, (len(f) + 1) / (len(f) + 2)
    classes = y.max() + 1
    for i in range(len(f)):
        means = np.stack([f[(y == c) & (np.arange(len(f)) != i)].mean(axis=0) for c in range(classes)])
        logits = -scale * ((f[i] - means) ** 2).sum(axis=1)
        log_p = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        wanted = np.where(np.arange(classes) == y[i], sure, (1 - sure) / (classes - 1))
        total += (wanted * log_p).sum()
    return total / len(f)


def test_it_is_known_by_name():
    assert get("strategy", "nearest_mean") is nearest_mean


def test_logits_are_squared_distances_to_the_means(classifier, pictures):
    """Number: softmax(-s ||f - mu||^2), from the definition."""
    from sklearn.neighbors import NearestCentroid

    model, (x, y) = classifier(), pictures
    history = nearest_mean(model, x, y, verbose=0)
    f = features(model, x).astype("float64")
    means = np.stack([f[y == c].mean(axis=0) for c in range(3)])
    distances = ((f[:, None] - means[None]) ** 2).sum(axis=-1)
    scale = history.stages[0]["scale"]
    logits = model.predict(x, verbose=0).astype("float64")
    wanted = scale * (((f - means.mean(axis=0)) ** 2).sum(axis=1, keepdims=True) - distances)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert (logits.argmax(1) == NearestCentroid().fit(f, y).predict(f)).all()


def test_the_scale_is_the_likeliest(classifier, pictures):
    """Number: no other scale explains the left-out labels better."""
    model, (x, y) = classifier(), pictures
    scale = nearest_mean(model, x, y, verbose=0).stages[0]["scale"]
    f = features(model, x).astype("float64")
    reached = left_out_likelihood(f, y, scale)
    for factor in (0.3, 0.9, 0.99, 1.01, 1.1, 3.0):
        assert reached > left_out_likelihood(f, y, factor * scale)


def test_it_is_as_sure_as_it_is_right_on_new_pictures():
    """Effect: three wide clouds; the probabilities fit the accuracy where none was seen."""
    from keras_transfer.fewshot.nearest_mean import _solve

    random = np.random.default_rng(1)
    centres = random.normal(size=(3, 20))

    def draw(n):
        y = np.arange(n) % 3
        return centres[y] + random.normal(size=(n, 20)) * 2.0, y

    x, y = draw(90)
    found = _solve(x, y, np.ones(90), 3, 0)
    new, labels = draw(6000)
    logits = new @ found.kernel + found.bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    accuracy = (p.argmax(1) == labels).mean()
    assert 0.6 < accuracy < 0.95
    assert abs(p.max(1).mean() - accuracy) < 0.05


def test_labels_of_every_kind_and_data_of_every_kind_give_the_same(classifier, pictures):
    x, y = pictures

    class Rows(keras.utils.PyDataset):
        num_batches = 4

        def __getitem__(self, index):
            return x[index * 12 : index * 12 + 12], y[index * 12 : index * 12 + 12]

    kernels = []
    for data in ((x, y), (x, np.eye(3)[y]), (x, y[:, None]), (Rows(workers=1),), (x[::-1], y[::-1])):
        model = classifier()
        nearest_mean(model, *data, verbose=0, seed=len(kernels))
        kernels.append(np.array(model.get_layer("head").get_layer("logits").kernel))
    for other in kernels[1:]:
        np.testing.assert_allclose(other, kernels[0], rtol=1e-4, atol=1e-6)


def test_a_weight_of_two_is_the_picture_twice(classifier, pictures):
    from keras_transfer.fewshot.nearest_mean import _solve

    x, y = pictures[0][:, 0, 0], pictures[1]
    twice = np.concatenate([x, x]), np.concatenate([y, y])
    weighted, counted = _solve(x, y, np.full(48, 2.0), 3, 0), _solve(*twice, np.ones(96), 3, 0)
    direction = [one.kernel / one.told["scale"] for one in (weighted, counted)]
    np.testing.assert_allclose(*direction)
    model = classifier()
    zero = np.where(np.arange(48) < 20, 1.0, 0.0)
    with pytest.raises(ValueError, match="a sample with weight"):
        nearest_mean(model, *pictures, sample_weight=zero, verbose=0)


def test_single_pictures_and_perfect_ones_have_a_scale():
    from keras_transfer.fewshot.nearest_mean import _solve

    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 10.0]])
    alone = _solve(x, np.arange(3), np.ones(3), 3, 0)
    apart = np.mean([25.0, 100.0, 45.0])
    assert alone.told["scale"] == pytest.approx(1 / apart)
    perfect = _solve(np.repeat(x, 4, axis=0), np.repeat(np.arange(3), 4), np.ones(12), 3, 0)
    assert np.isfinite(perfect.kernel).all()
    same = _solve(np.ones((6, 2)), np.arange(6) % 3, np.ones(6), 3, 0)  # nothing to tell apart
    assert np.isfinite(same.kernel).all()
    assert np.isfinite(same.bias).all()


def test_it_saves_and_exports_like_any_model(classifier, pictures, tmp_path):
    from keras_transfer.core.saving import load, save
    from keras_transfer.export import inference_model

    model, (x, y) = classifier(), pictures
    nearest_mean(model, x, y, verbose=0)
    save(model, tmp_path / "model.keras")
    logits = model.predict(x, verbose=0)
    np.testing.assert_allclose(load(tmp_path / "model.keras").predict(x, verbose=0), logits, atol=1e-5)
    probabilities = inference_model(model).predict(x, verbose=0)
    np.testing.assert_allclose(probabilities.argmax(1), logits.argmax(1))


def test_a_setting_that_it_has_not_is_named(classifier, pictures):
    with pytest.raises(TypeError, match="Received: class_weight='balanced'"):
        nearest_mean(classifier(), *pictures, class_weight="balanced")


@pytest.mark.slow
def test_on_real_photos(data_root):
    """Effect: four in five ants and bees by the means of a width-0.25 backbone alone."""
    from keras_transfer.backbones import build_classifier
    from keras_transfer.data import load_images

    data = load_images(data_root / "hymenoptera", image_size=128)
    weights = data_root / "backbones" / "mobilenet_0.25_128.weights.h5"
    model = build_classifier("mobilenet_0.25", 2, weights=weights, input_shape=(128, 128, 3))
    history = nearest_mean(model, data, verbose=0)
    assert history.history["val_accuracy"][0] > 0.75
    assert history.best_epoch == 0
