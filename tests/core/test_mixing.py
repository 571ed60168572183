"""MixUp and CutMix by the papers' formulas; labels that say what is really in the picture; draws that can be repeated."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.mixing import Mix, MixedBatches, as_mix, as_rows, rows_of
from keras_transfer.core.outputs import classification_loss, loss_for_rows
from keras_transfer.core.source import ArraySource, Batches

CLASSES = 3


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (16, 13, 10, 3)).astype("float32"), np.arange(16) % CLASSES


def plain(count, shape=(13, 10, 1)):
    """Pictures of one colour each, all different: every pixel says which picture it is from."""
    return np.broadcast_to(np.arange(count, dtype="float32").reshape(-1, 1, 1, 1), (count, *shape)).copy()


def test_mixup_is_the_papers_sum(batch):
    x, _ = batch
    mixed, partner, share = Mix("mixup")(x, np.random.default_rng(1))
    assert sorted(partner) == list(range(16))
    for i, j in enumerate(partner):
        np.testing.assert_allclose(mixed[i], share[i] * x[i] + (1 - share[i]) * x[j], rtol=1e-5)
    assert len(np.unique(share)) == 16  # each pair its own


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_shares_are_beta(strength):
    x = np.zeros((20000, 1, 1, 1), "float32")
    share = Mix("mixup", strength)(x, np.random.default_rng(0))[2]
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.var() == pytest.approx(1 / (4 * (2 * strength + 1)), rel=0.05)


def papers_box(width, height, share, random):
    """`rand_bbox` of Yun et al., for one picture."""
    cut = np.sqrt(1.0 - share)
    cut_w, cut_h = int(width * cut), int(height * cut)
    cx, cy = random.integers(width), random.integers(height)
    x1, x2 = np.clip([cx - cut_w // 2, cx + cut_w // 2], 0, width)
    y1, y2 = np.clip([cy - cut_h // 2, cy + cut_h // 2], 0, height)
    return 1 - (x2 - x1) * (y2 - y1) / (width * height)


def test_cutmix_shares_are_those_of_the_papers_boxes():
    random = np.random.default_rng(5)
    theirs = np.array([papers_box(10, 13, share, random) for share in random.beta(1, 1, 20000)])
    ours = Mix("cutmix")(np.zeros((20000, 13, 10, 1), "float32"), np.random.default_rng(6))[2]
    for level in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(ours, level) == pytest.approx(np.quantile(theirs, level), abs=0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)
    assert theirs.mean() > 0.6  # boxes are cut off at the edges: far from the 0.5 of lambda


def test_cutmix_pastes_one_box_and_counts_its_pixels():
    x = plain(64)
    mixed, partner, share = Mix("cutmix")(x, np.random.default_rng(0))
    seen = 0
    for i, j in enumerate(partner):
        if i != j:
            foreign = mixed[i, :, :, 0] == j
            assert (foreign | (mixed[i, :, :, 0] == i)).all()
            rows, columns = np.flatnonzero(foreign.any(1)), np.flatnonzero(foreign.any(0))
            assert foreign.sum() == len(rows) * len(columns)  # a rectangle without holes
            assert all(len(side) == 0 or np.ptp(side) + 1 == len(side) for side in (rows, columns))
            assert share[i] == pytest.approx(1 - foreign.mean())
            seen += 0 < foreign.mean() < 1
    assert seen > 30
    assert (x == plain(64)).all()  # the batch that came in is as it was


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_equal_pictures_stay_as_they_are(method, batch):
    same = np.repeat(batch[0][:1], 16, axis=0)
    np.testing.assert_allclose(Mix(method)(same, np.random.default_rng(0))[0], same, rtol=1e-6)


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_batches_label_what_is_in_them_behind_the_augmentation(method):
    """A colour stays under any view, so the share of the pixels is that of the label if, and only if, views come first."""
    augmentation = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.RandomZoom((-0.6, -0.5))])
    x, y = plain(48, (12, 12, 3)) % CLASSES * 100, np.arange(48) % CLASSES
    batches = MixedBatches(ArraySource(x, y), Mix(method), CLASSES, augmentation, batch_size=48, shuffle=True)
    mixed, rows = batches[0]
    assert mixed.dtype == rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed.mean((1, 2)), (rows @ [0, 100, 200])[:, None] * np.ones(3), rtol=1e-4, atol=1e-3)
    assert 0 < np.sort(rows, -1)[:, -2].max() < 1


def test_draws_follow_from_seed_epoch_and_batch(batch):
    augmentation = keras.Sequential([keras.Input((13, 10, 3)), keras.layers.RandomFlip()])

    def batches(**kwargs):
        return MixedBatches(ArraySource(*batch), Mix("mixup"), CLASSES, augmentation, batch_size=8, **kwargs)

    one = batches(seed=1)
    first = one[1][0]
    _ = one[0]
    assert np.array_equal(one[1][0], first)
    assert np.array_equal(batches(seed=1)[1][0], first)
    one.on_epoch_end()
    assert not np.array_equal(one[1][0], first)
    later = batches(seed=1, before=1)  # in a second stage, which also starts with its epoch 0
    assert np.array_equal(later[1][0], one[1][0])
    skipped = batches(seed=1)
    skipped.skip(1)
    assert np.array_equal(skipped[1][0], one[1][0])
    assert not np.array_equal(batches(seed=2)[1][0], first)


def cross_entropy(rows, logits):
    return (rows * (np.log(np.exp(logits).sum(-1, keepdims=True)) - logits)).sum(-1)


@pytest.mark.parametrize("by", ["sample", "class", "both"])
def test_weights_of_a_pair_are_those_of_its_parts(by, batch):
    random = np.random.default_rng(3)
    x, y = batch
    sample_weight = random.uniform(0.1, 3, 16) if by != "class" else None
    class_weight = {0: 0.5, 2: 4.0} if by != "sample" else None  # one that is not named weighs 1
    source = ArraySource(x, y, sample_weight)
    batches = MixedBatches(source, Mix("cutmix"), CLASSES, class_weight=class_weight, batch_size=16, seed=7)
    logits = random.normal(size=(16, CLASSES))
    _, rows, weight = batches[0]
    again = np.random.default_rng([7, 0, 0])
    partner, share = Mix("cutmix")(x, again)[1:]
    w = (1 if sample_weight is None else sample_weight) * np.array([(class_weight or {}).get(c, 1.0) for c in y])
    loss = cross_entropy(np.eye(CLASSES)[y], logits)
    loss_of_partner = cross_entropy(np.eye(CLASSES)[y[partner]], logits)
    right = share * w * loss + (1 - share) * w[partner] * loss_of_partner
    np.testing.assert_allclose(weight * cross_entropy(rows, logits), right, rtol=1e-5)


def test_a_sample_without_weight_is_no_number_less():
    batches = MixedBatches(ArraySource(plain(4), np.arange(4) % 2, np.zeros(4)), Mix("mixup"), 2, batch_size=4)
    _, rows, weight = batches[0]
    assert not weight.any()
    assert not rows.any()


@pytest.mark.fast(1)
@pytest.mark.parametrize("alive", ["head", None])
def test_a_fit_is_keras_on_the_mixed_batches(alive, small_model, pictures):
    """By hand: the batches of the formulas, one `train_on_batch` each, on labels as rows."""

    def model():
        made = small_model()
        for layer in (
            made.get_layer("head").get_layer("dropout"),
            made.get_layer("backbone").get_layer("inner_dropout"),
        ):
            layer.rate = 0.0
        return unfreeze(freeze(made), alive)

    def optimizer():
        return keras.optimizers.SGD(0.1)

    x, y = pictures
    ours = model()
    loss = classification_loss(ours, False)
    settings = {"optimizer": optimizer(), "loss": loss, "batch_size": 16, "seed": 3, "verbose": 0, "epochs": 2}
    history = fit(ours, x, y, validation_data=(x, y), mix="mixup", mix_strength=0.7, **settings)
    by_hand = model()
    by_hand.compile(optimizer(), keras.losses.CategoricalCrossentropy(from_logits=True))
    for epoch in (1, 2):  # Keras tells its data of the end of an epoch before the first, too
        order = np.random.default_rng([3, epoch]).permutation(50)
        for index in range(4):
            here = order[index * 16 : (index + 1) * 16]
            random = np.random.default_rng([3, epoch, index])
            partner, share = random.permutation(len(here)), random.beta(0.7, 0.7, len(here))[:, None]
            rows = np.eye(3)[y[here]]
            mixed = share[:, :, None, None] * x[here] + (1 - share[:, :, None, None]) * x[here][partner]
            by_hand.train_on_batch(mixed.astype("float32"), share * rows + (1 - share) * rows[partner])
    apart = [np.abs(a - b).max() for a, b in zip(ours.get_weights(), by_hand.get_weights(), strict=True)]
    assert max(apart) < 1e-4
    assert max(np.abs(a - b).max() for a, b in zip(ours.get_weights(), model().get_weights(), strict=True)) > 1e-3
    assert ours.loss is loss  # the whole model is compiled for the labels that the user has
    judged = ours.evaluate(x, y, verbose=0)
    assert judged == pytest.approx([history.history["val_loss"][-1], history.history["val_accuracy"][-1]], abs=1e-5)


def test_rows_are_one_hot_or_as_they_are():
    one_hot = np.eye(4)[[2, 0, 3]]
    for labels in ([2, 0, 3], [[2], [0], [3]], [2.0, 0.0, 3.0], one_hot):
        assert np.array_equal(as_rows(labels, 4), one_hot)


@pytest.mark.parametrize("one_hot", [False, True])
def test_validation_labels_become_rows_whatever_they_come_in(one_hot):
    x, y = plain(5), np.array([0, 2, 1, 2, 0])
    given = np.eye(3)[y] if one_hot else y
    data = tf.data.Dataset.from_tensor_slices((x, given, np.ones(5))).batch(2)
    kinds = [rows_of(data, 3), rows_of(Batches(ArraySource(x, given, np.ones(5)), 2), 3)]
    for batches in ([*kinds[0].as_numpy_iterator()], [kinds[1][index] for index in range(kinds[1].num_batches)]):
        assert np.array_equal(np.concatenate([rows for _, rows, _ in batches]), np.eye(3)[y])
    assert rows_of(None, 3) is None


def test_losses_for_rows():
    rows, logits = np.eye(3)[[0, 2]], np.array([[1.0, 2.0, 0.5], [0.0, 0.3, 1.0]])
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    assert float(loss_for_rows(sparse)(rows, logits)) == pytest.approx(float(sparse(np.array([0, 2]), logits)))
    assert loss_for_rows("sparse_categorical_crossentropy") == "categorical_crossentropy"
    own = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert loss_for_rows(own) is own
    with pytest.raises(ValueError, match="ignore_class=0"):
        loss_for_rows(keras.losses.SparseCategoricalCrossentropy(ignore_class=0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("cut",), "'mixup', 'cutmix' or None"),
        (("mixup", 0), "above 0"),
        ((None, 0.5), "needs `mix`"),
        ((3,), "'mixup'"),
    ],
)
def test_wrong_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        as_mix(*given)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)"):
        Mix("cutmix")(np.zeros((4, 10), "float32"), np.random.default_rng(0))
    with pytest.raises(TypeError, match="a PyDataset"):
        rows_of(iter([]), 3)
