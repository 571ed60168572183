"""The strategies: what moves and what does not, which epoch is kept, and that they learn something real."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import build_classifier
from keras_transfer.core.registry import get, registered
from keras_transfer.tuning import feature_extraction, full


def classifier(**settings):
    """A small backbone with BatchNorm, as it comes (pretrained, so frozen) or not."""
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((32, 32, 3))
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, name=f"conv{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(keras.layers.BatchNormalization(name=f"bn{block}")(x))
    return build_classifier(keras.Model(pixels, x), 3, augmentation="none", preprocessing="tf", **settings)


@pytest.fixture
def pictures():
    """Three colours under noise: something that a head can learn."""
    random = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = random.integers(0, 100, (48, 32, 32, 3)).astype("float32")
    x[np.arange(48), :, :, y] += 100
    return x, y


def snapshot(model):
    return {v.path: np.array(v) for v in model.weights}


def changed(model, before):
    return {path for path, value in snapshot(model).items() if not np.array_equal(before[path], value)}


def test_feature_extraction_moves_the_head_alone(pictures):
    model = classifier()
    before = snapshot(model)
    feature_extraction(model, *pictures, epochs=2, verbose=0)
    moved = changed(model, before)
    assert moved
    assert all("logits" in path for path in moved)


def test_full_moves_everything_but_the_batch_norm_of_a_pretrained_backbone(pictures):
    model = classifier()
    before = snapshot(model)
    full(model, *pictures, epochs=1, learning_rate=1e-2, verbose=0)
    moved = changed(model, before)
    kernels = {path for path in before if path.endswith("kernel")}
    assert kernels <= moved
    assert not any("moving" in path or "gamma" in path for path in moved)


def test_full_from_scratch_trains_batch_norm_too(pictures):
    model = classifier(weights=None)
    before = snapshot(model)
    full(model, *pictures, epochs=1, verbose=0)
    assert any("moving_mean" in path for path in changed(model, before))


@pytest.mark.parametrize(("pretrained", "rate"), [(True, 1e-4), (False, 1e-3)])
def test_full_chooses_its_rate(pictures, pretrained, rate):
    model = classifier() if pretrained else classifier(weights=None)
    full(model, *pictures, epochs=1, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(rate)


def test_a_given_rate_wins_and_none_means_the_default(pictures):
    model = classifier()
    feature_extraction(model, *pictures, epochs=1, learning_rate=0.5, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.5
    feature_extraction(model, *pictures, epochs=1, learning_rate=None, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


class Script(keras.callbacks.Callback):
    """Sets the head so that validation accuracy goes up, then down: the best epoch is known beforehand."""

    def __init__(self, right):
        super().__init__()
        self.right = right

    def on_epoch_end(self, epoch, logs=None):
        logs["val_accuracy"] = self.right[epoch]
        self.model.get_layer("head").get_layer("logits").bias.assign([float(epoch)] * 3)


@pytest.mark.parametrize(("keep", "bias"), [("best", 1.0), ("last", 7.0)])
def test_the_best_epoch_is_kept_and_the_fit_ends_patience_epochs_after_it(pictures, keep, bias):
    model = classifier()
    script = Script([0.3, 0.9, 0.8, 0.5, 0.4, 0.3, 0.3, 0.3])
    history = feature_extraction(
        model, *pictures, validation_data=pictures, epochs=8, patience=3, keep=keep, callbacks=[script], verbose=0
    )
    assert history.epoch == (
        [0, 1, 2, 3, 4] if keep == "best" else list(range(8))
    )  # the last: validation stops nothing
    assert history.best_epoch == (1 if keep == "best" else None)
    assert np.allclose(np.array(model.get_layer("head").get_layer("logits").bias), bias)


def test_equal_accuracies_go_to_the_lower_loss(pictures):
    class Level(keras.callbacks.Callback):
        losses = (3.0, 1.0, 2.0, 2.0)

        def on_epoch_end(self, epoch, logs=None):
            logs.update(val_accuracy=0.5, val_loss=self.losses[epoch])

    history = feature_extraction(
        classifier(), *pictures, validation_data=pictures, epochs=4, callbacks=[Level()], verbose=0
    )
    assert history.best_epoch == 1


def test_without_validation_data_no_epoch_is_chosen(pictures):
    history = feature_extraction(classifier(), *pictures, epochs=2, verbose=0)
    assert history.best_epoch is None


def test_integer_column_and_one_hot_labels_train_alike(pictures):
    x, y = pictures
    weights = []
    for labels in (y, y[:, None], np.eye(3)[y]):
        model = classifier(dropout=0.0)
        feature_extraction(model, x, labels, epochs=3, verbose=0)
        weights.append(np.array(model.get_layer("head").get_layer("logits").kernel))
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-6)
    np.testing.assert_allclose(weights[0], weights[2], atol=1e-5)


@pytest.mark.slow
def test_it_learns(pictures):
    model = classifier(dropout=0.0)
    history = feature_extraction(model, *pictures, epochs=100, learning_rate=5e-2, verbose=0)
    assert history.history["accuracy"][0] < 0.7
    assert history.history["accuracy"][-1] > 0.95


def test_strategies_are_known_by_name():
    ours = {"progressive", "partial", "feature_extraction", "full", "layerwise", "linear_probe"}
    assert set(registered("strategy")) >= ours
    assert get("strategy", "full") is full
    with pytest.raises(ValueError, match="Did you mean 'full'"):
        get("strategy", "ful")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"keep": "first"}, "'best' or 'last'"), ({"patience": 0}, "at least 1 epoch"), ({"epochs": 0}, "at least 1")],
)
def test_wrong_settings_are_named(pictures, settings, message):
    with pytest.raises(ValueError, match=message):
        feature_extraction(classifier(), *pictures, verbose=0, **settings)


@pytest.mark.slow
def test_default_recipe_on_real_photos(data_root):
    """Effect: a width-0.35 backbone with its ImageNet weights beats the same network at random on ants and bees."""
    from keras_transfer.data import load_images

    data = load_images(data_root / "hymenoptera", image_size=128)
    reached = {}
    for weights in (data_root / "backbones" / "mobilenetv2_0.35_224_notop.weights.h5", None):
        keras.utils.set_random_seed(0)
        model = build_classifier("mobilenet_v2_0.35", 2, weights=weights, input_shape=(128, 128, 3))
        history = feature_extraction(model, data, epochs=10, verbose=0)
        reached[weights is None] = history.history["val_accuracy"][history.best_epoch]
    assert reached[False] > 0.80
    assert reached[False] > reached[True] + 0.1
