"""The features of a frozen backbone: right, in the order of the data, computed once for whoever asks, and nothing moves."""

import keras
import numpy as np
import pytest

from keras_transfer.core import activations as cache
from keras_transfer.core.features import features, labelled_features
from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze, freeze_plan, unfreeze
from keras_transfer.core.prefix import cut
from keras_transfer.core.source import ArraySource


@pytest.fixture
def runs(monkeypatch):
    """How often pictures went through the frozen part, and whether they were augmented."""
    cache.forget()
    calls = []
    real = cache.Runner.__call__

    def counted(self, x, augmented):
        calls.append(augmented)
        return real(self, x, augmented)

    monkeypatch.setattr(cache.Runner, "__call__", counted)
    return calls


def by_hand(model, x):
    scaled = model.get_layer("preprocessing")(x)
    return np.asarray(model.get_layer("backbone")(scaled, training=False)).mean(axis=(1, 2))


class Backwards(keras.utils.PyDataset):
    """Batches whose order is another every time they are read."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.step = x, y, -1

    num_batches = 5

    def __getitem__(self, index):
        part = slice(index * 10, index * 10 + 10)
        return self.x[:: self.step][part], self.y[:: self.step][part]


def test_they_are_what_comes_into_the_head(small_model, pictures):
    model = small_model(augmentation=True)
    found = features(model, *pictures)
    assert found.shape == (50, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(model, pictures[0]), atol=1e-5)
    np.testing.assert_array_equal(features(model, pictures[0]), found)  # labels are not needed
    np.testing.assert_array_equal(features(model, ArraySource(*pictures)), found)
    logits = model.predict(pictures[0], verbose=0)
    np.testing.assert_allclose(model.get_layer("head")(found, training=False), logits, atol=1e-5)


def test_of_an_encoder_they_are_what_it_gives_and_found_where_the_classifier_left_them(small_model, pictures, runs):
    model = small_model(augmentation=True)
    found = features(model, *pictures)
    computed = len(runs)
    encoder = keras.Model(model.inputs[0], model.get_layer("pooling").output)
    bare = keras.Model(model.get_layer("preprocessing").input, model.get_layer("pooling").output)
    for one in (encoder, bare):  # with the augmentation before it, and without
        np.testing.assert_array_equal(features(one, *pictures), found)
    assert len(runs) == computed == 2


def test_batches_in_another_order_bring_their_labels(small_model, pictures):
    model, (x, y) = small_model(), pictures
    data = Backwards(x, y)
    for step in (-1, 1):
        data.step = step
        found = labelled_features(model, data)
        np.testing.assert_array_equal(found.y, y[::step])
        np.testing.assert_allclose(found.x, by_hand(model, x[::step]), atol=1e-5)
    weighted = labelled_features(model, x, y, np.arange(50.0))
    np.testing.assert_array_equal(weighted.sample_weight, np.arange(50.0))


@pytest.mark.fast(1)
@pytest.mark.parametrize("first", ["features", "fit"])
def test_a_fit_with_views_and_the_features_share_the_plain_view(first, small_model, pictures, runs):
    model = unfreeze(freeze(small_model(augmentation=True)), "head")

    def trained(seed):
        keras.utils.set_random_seed(seed)
        optimizer, loss = keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        fit(model, *pictures, optimizer=optimizer, loss=loss, views=3, epochs=4, seed=seed, verbose=0)

    if first == "features":
        features(model, *pictures)
        assert runs == [False] * 2  # two batches of 50 pictures
        trained(seed=0)
        assert runs == [False] * 2 + [True] * 4
    else:
        trained(seed=0)
        assert runs == [False, True, True] * 2
        features(model, *pictures)
        assert len(runs) == 6
    del runs[:]
    trained(seed=1)  # other views, the same picture
    assert runs == [True] * 4
    other = small_model(augmentation=True, seed=1)
    assert np.abs(features(other, *pictures) - features(model, *pictures)).max() > 1e-3  # other weights


def test_views_beside_a_known_plain_view_are_those_without_it(small_model, pictures):
    taken = []
    for known in (False, True):
        cache.forget()
        model = unfreeze(freeze(small_model(augmentation=True)), "head")
        if known:
            features(model, *pictures)
        keras.utils.set_random_seed(3)
        taken.append(cache.activations(cache.Runner(cut(model)), ArraySource(*pictures), 3, 0, show=False))
    np.testing.assert_array_equal(*taken)


def test_what_was_found_again_counts_its_seconds_once(small_model, pictures, runs):
    model = small_model()
    features(model, *pictures)
    before = cache.saved_seconds()
    features(model, *pictures)
    once = cache.saved_seconds() - before
    features(model, *pictures)
    assert once > 0
    assert cache.saved_seconds() - before == pytest.approx(2 * once)


def test_what_others_will_find_cannot_be_written_into(small_model, pictures):
    found = features(small_model(), *pictures)
    with pytest.raises(ValueError, match="read-only"):
        found -= found.mean(axis=0)


def test_what_trains_is_as_it_was(small_model, pictures):
    model = unfreeze(freeze(small_model(), "backbone"), "conv3")
    plan, weights = freeze_plan(model), model.get_weights()
    features(model, *pictures)
    assert freeze_plan(model) == plan
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(x[:, 0, 0])


def test_what_has_no_features_is_named(small_model, pictures):
    own = Own()
    own(pictures[0][:1])
    with pytest.raises(ValueError, match="cannot be cut there"):
        features(own, *pictures)
    with pytest.raises(ValueError, match="rows of numbers before the head"):
        features(small_model().get_layer("backbone"), *pictures)


def test_a_whole_data_set_is_refused(small_model):
    class Data:
        splits = {}

    with pytest.raises(TypeError, match=r"pass data\.splits"):
        features(small_model(), Data())
