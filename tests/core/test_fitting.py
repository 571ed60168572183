"""Fitting on cached activations is fitting: same weights, same history, whole model for callbacks; and where it must not be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core import activations as cache
from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.outputs import classification_loss
from keras_transfer.core.prefix import cut
from keras_transfer.core.source import ArraySource
from keras_transfer.tuning import Stage, fit_stages


def run(model, *data, epochs=4, alive="head", verbose=0, batch_size=8, **settings):
    unfreeze(freeze(model), alive)
    optimizer = keras.optimizers.Adam(1e-2)
    keras.utils.set_random_seed(1)
    history = fit(
        model,
        *data,
        optimizer=optimizer,
        loss=classification_loss(model, False),
        epochs=epochs,
        batch_size=batch_size,
        verbose=verbose,
        **settings,
    )
    return model, history


def difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def no_dropout(model):
    model.get_layer("head").get_layer("dropout").rate = 0.0
    return model


@pytest.fixture
def prefix_runs(monkeypatch):
    """How often the frozen part was run over a data set."""
    calls = []
    real = cache.run_prefix

    def counted(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(cache, "run_prefix", counted)
    monkeypatch.setattr("keras_transfer.core.feeding.run_prefix", counted)
    cache.forget()
    return calls


def datasets(x, y):
    return {
        "arrays": (x, y),
        "tf.data in order": (tf.data.Dataset.from_tensor_slices((x, y)).batch(7),),
        "py dataset": (Slices(x, y),),
    }


class Slices(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    @property
    def num_batches(self):
        return 5

    def __getitem__(self, index):
        return self.x[index * 10 : index * 10 + 10], self.y[index * 10 : index * 10 + 10]


@pytest.mark.fast(1)
@pytest.mark.parametrize("kind", ["arrays", "tf.data in order", "py dataset"])
@pytest.mark.parametrize("alive", ["head", pytest.param(["head", "conv3"], marks=pytest.mark.slow)])
def test_cached_and_uncached_training_agree(small_model, pictures, kind, alive):
    kwargs = {"alive": alive, "validation_data": pictures}
    one, a = run(no_dropout(small_model()), *datasets(*pictures)[kind], cache=True, **kwargs)
    other, b = run(no_dropout(small_model()), *datasets(*pictures)[kind], cache=False, **kwargs)
    assert difference(one, other) < 1e-5
    assert difference(one, small_model()) > 1e-3  # they did train
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(a.history[name], b.history[name], atol=1e-4)


def test_agrees_with_a_plain_keras_fit(small_model, pictures):
    """The reference: Keras alone on a data set in order, its Dropout layers set to zero as inference mode is."""
    dataset = tf.data.Dataset.from_tensor_slices(pictures).batch(8)
    ours, _ = run(no_dropout(small_model()), dataset)
    plain = no_dropout(small_model())
    plain.get_layer("backbone").get_layer("inner_dropout").rate = 0.0
    plain.get_layer("backbone").trainable = False
    plain.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain.fit(dataset, epochs=4, verbose=0)
    assert difference(ours, plain) < 1e-5


def test_the_frozen_part_runs_once_and_is_found_again(small_model, pictures, prefix_runs):
    run(small_model(), *pictures, validation_data=pictures)
    assert len(prefix_runs) == 1  # validation pictures are the training pictures here: found in the store
    run(small_model(), *pictures, epochs=6)
    assert len(prefix_runs) == 1
    run(small_model(seed=1), *pictures)  # other weights
    assert len(prefix_runs) == 2
    run(small_model(), pictures[0] + 1, pictures[1])  # other pictures
    assert len(prefix_runs) == 3


def test_views_stand_in_for_augmentation(small_model, pictures, prefix_runs):
    run(small_model(augmentation=True), *pictures, views=3, epochs=4)
    assert prefix_runs[0][3] == 3
    features = cache.run_prefix(prefix_runs[0][0], [pictures[0]], 50, 3, "")
    assert features.shape == (3, 50, 8)
    assert np.abs(features[0] - features[1]).max() > 1e-3  # views differ
    assert np.abs(features[1] - features[2]).max() > 1e-3
    plain = prefix_runs[0][0].cut.prefix(pictures[0], training=False)  # the first view is the picture as it is
    np.testing.assert_allclose(features[0], np.asarray(plain), atol=1e-5)


@pytest.mark.slow
def test_the_same_seeds_give_the_same_training_again_in_one_process(small_model, pictures, prefix_runs):
    """The second training finds its views; what it draws afterwards, in the stage that is not cached, is the same too."""
    stages = [Stage("head", "head", 3, 1e-2), Stage("all", None, 2, 1e-3)]
    ends = []
    for _ in range(2):
        model = small_model(augmentation=True)
        before = [np.array(one) for one in model.variables]
        keras.utils.set_random_seed(5)
        fit_stages(model, stages, *pictures, views=2, batch_size=16, keep="last", verbose=0)
        ends.append([np.array(one) for one in model.variables])  # random states are among them
        assert not any(np.array_equal(a, b) for a, b in zip(before, ends[-1], strict=True) if a.dtype == "uint32")
    assert all(np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert len(prefix_runs) == 1


def test_views_that_are_found_again_leave_the_random_state_as_if_drawn(small_model, pictures, prefix_runs):
    def views(seed):
        model = small_model(augmentation=True, seed=seed)
        model.set_weights(small_model(augmentation=True).get_weights())
        states = model.get_layer("augmentation").variables
        runner = cache.Runner(cut(unfreeze(freeze(model), "head")))
        found = cache.activations(runner, ArraySource(*pictures), 2, 0, show=False)
        return found, [np.array(one) for one in states], runner

    first, after, runner = views(seed=0)
    again, found_again, _ = views(seed=0)
    other, _, _ = views(seed=1)
    assert again is first
    assert len(after) == 2
    assert all(np.array_equal(a, b) for a, b in zip(after, found_again, strict=True))
    assert np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])
    on = cache.activations(runner, ArraySource(*pictures), 2, 0, show=False)  # the state has gone on: new pictures
    assert not np.array_equal(first[1], on[1])
    plain = [cache.activations(one, ArraySource(*pictures), 1, 0, show=False) for one in (runner, views(seed=1)[2])]
    assert all(np.shares_memory(one, on) for one in plain)  # nothing random in it: that of any views


def test_every_epoch_shows_one_view_of_each_sample_and_all_in_turn():
    views = np.arange(3)[:, None] * 100 + np.arange(10)[None]
    batches = cache.ViewBatches(views, [np.arange(10)], 4, shuffle=True, seed=3)
    seen = []
    for _ in range(3):
        epoch = [batches[i] for i in range(batches.num_batches)]
        x, y = (np.concatenate(part) for part in zip(*epoch, strict=True))
        assert np.array_equal(x % 100, y)
        assert sorted(y) == list(range(10))
        seen.append(x[np.argsort(y)])
        batches.on_epoch_end()
    assert all(len(set(column)) == 3 for column in np.stack(seen).T)


@pytest.mark.fast(2)
@pytest.mark.parametrize(
    ("make", "settings", "reason"),
    [
        (lambda x, y: (x, y), {"views": 4, "epochs": 4, "augmentation": True}, "not fewer than 4 epoch"),
        (
            lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(8),),
            {"steps_per_epoch": 3},
            "a number of steps",
        ),
        (lambda x, y: (x, y), {"epochs": 1}, "in one epoch each sample is seen once"),
        (lambda x, y: (noisy(x, y),), {}, "other samples when it is read again"),
        (lambda x, y: (((x[:8], y[:8]) for _ in range(100)),), {"steps_per_epoch": 2}, "a number of steps"),
    ],
)
def test_no_cache_is_said_in_one_line_and_trains_all_the_same(
    small_model, pictures, capsys, prefix_runs, make, settings, reason
):
    model = small_model(augmentation=settings.pop("augmentation", False))
    before = small_model()
    run(model, *make(*pictures), verbose=2, **settings)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("No cache")]
    assert len(lines) == 1
    assert reason in lines[0]
    assert difference(model, before) > 0


def noisy(x, y):
    random = np.random.default_rng(0)

    def change(image, label):
        noisy = tf.numpy_function(lambda pixels: pixels + random.random(dtype="float32"), [image], tf.float32)
        return tf.ensure_shape(noisy, (None, 16, 16, 3)), label

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8).map(change)


def test_a_shuffling_dataset_is_cached_and_goes_on_shuffling(small_model, pictures, prefix_runs):
    dataset = tf.data.Dataset.from_tensor_slices(pictures).shuffle(50, seed=0).batch(8)
    _, history = run(small_model(), dataset)
    assert len(prefix_runs) == 1
    assert len(history.history["loss"]) == 4


def test_callbacks_see_the_whole_model(small_model, pictures, tmp_path):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((self.model, sorted(logs)))
            self.model.stop_training = epoch == 1

    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "c.keras")
    model, history = run(small_model(), *pictures, epochs=6, validation_data=pictures, callbacks=[Look(), checkpoint])
    assert [one for one, _ in seen] == [model, model]
    assert seen[0][1] == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.model is model
    assert history.epoch == [0, 1]  # stopping the whole model stopped the fit
    saved = keras.models.load_model(tmp_path / "c.keras")
    np.testing.assert_allclose(saved.predict(pictures[0], verbose=0), model.predict(pictures[0], verbose=0), atol=1e-5)


def test_the_whole_model_is_compiled_afterwards(small_model, pictures):
    model, history = run(small_model(), *pictures, validation_data=pictures)
    loss, accuracy = model.evaluate(*pictures, verbose=0)
    assert loss == pytest.approx(history.history["val_loss"][-1], abs=1e-4)
    assert accuracy == pytest.approx(history.history["val_accuracy"][-1], abs=1e-6)
    assert int(model.optimizer.iterations.numpy()) == 4 * 7


@pytest.mark.slow
def test_frozen_dropout_runs_in_inference_mode_without_a_cache_too(small_model, pictures):
    """Dropout 0.5 inside the frozen part: two uncached fits with other seeds agree, because nothing random is left."""
    one, _ = run(no_dropout(small_model()), *pictures, cache=False)
    model = no_dropout(small_model())
    unfreeze(freeze(model), "head")
    keras.utils.set_random_seed(99)
    fit(
        model,
        *pictures,
        optimizer=keras.optimizers.Adam(1e-2),
        loss=classification_loss(model, False),
        epochs=4,
        batch_size=8,
        cache=False,
        verbose=0,
    )
    assert difference(one, model) < 1e-6


def test_orders_differ_between_epochs_and_repeat_between_runs():
    from keras_transfer.core.source import ArraySource, Batches

    def orders():
        batches = Batches(ArraySource(np.arange(20), np.arange(20)), 6, shuffle=True, seed=5)
        for _ in range(2):
            yield np.concatenate([batches[i][0] for i in range(batches.num_batches)])
            batches.on_epoch_end()

    first, second = orders()
    assert not np.array_equal(first, second)
    assert sorted(first) == sorted(second) == list(range(20))
    assert all(np.array_equal(a, b) for a, b in zip(orders(), (first, second), strict=True))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.zeros((4, 16, 16, 3)),), "need their labels"),
        ((np.zeros((4, 16, 16, 3)), np.zeros(3)), "equal lengths"),
        ((np.zeros((0, 16, 16, 3)), np.zeros(0)), "at least one sample"),
    ],
)
def test_bad_data_is_refused(small_model, args, message):
    with pytest.raises(ValueError, match=message):
        run(small_model(), *args)


def test_a_frozen_model_and_no_epochs_are_refused(small_model, pictures):
    model = freeze(small_model())
    settings = {"optimizer": "adam", "loss": "mse"}
    with pytest.raises(ValueError, match="At least one layer must train"):
        fit(model, *pictures, **settings)
    with pytest.raises(ValueError, match="at least 1"):
        fit(unfreeze(model), *pictures, epochs=0, **settings)


def test_a_py_dataset_that_draws_anew_in_on_epoch_end_is_not_cached(small_model, pictures, capsys, prefix_runs):
    class Drawing(Slices):
        def on_epoch_end(self):
            self.x = self.x + 1

    run(small_model(), Drawing(*pictures), verbose=2)
    assert "other samples when it is read again" in capsys.readouterr().out


def test_a_model_with_a_loss_of_its_own_is_fitted_as_it_is(pictures):
    calls = []

    class Mine(keras.Model):
        def compute_loss(self, *args, **kwargs):
            calls.append(1)
            return super().compute_loss(*args, **kwargs)

    x = keras.Input((16, 16, 3))
    h = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(x))
    model = Mine(x, keras.layers.Dense(3, name="head")(h))
    run(model, *pictures)
    assert calls


def test_sample_weight_beside_a_dataset_is_refused(small_model, pictures):
    dataset = tf.data.Dataset.from_tensor_slices(pictures).batch(8)
    with pytest.raises(ValueError, match="goes with arrays"):
        run(small_model(), dataset, sample_weight=np.zeros(50))
