"""The rate finder: suggestions against known curvature, no trace left, every kind of data and optimizer, wrong input."""

import hashlib

import keras
import numpy as np
import pytest

from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.schedules import OneCycle
from keras_transfer.core.source import ArraySource, Batches
from keras_transfer.data.images import ImageData
from keras_transfer.data.samples import digits
from keras_transfer.tuning.learning_rates import LearningRates, smooth
from keras_transfer.tuning.lr_finder import LearningRateFinder, lr_find

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def regression(scale=1.0, count=64, width=8):
    """Inputs, targets and L, the largest curvature of the mean squared error."""
    x = np.random.default_rng(0).normal(size=(count, width)).astype("float32") * scale
    y = (x @ np.linspace(-1, 1, width)[:, None]).astype("float32")
    return x, y, float(np.linalg.eigvalsh(2 * x.T @ x / count).max())


def endless(x, y):
    """All of it in every batch, in one epoch without end: quicker than an epoch a batch."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((x, y)).repeat()


def linear_model(width=8, optimizer="sgd"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((width,)), layers.Dense(1, use_bias=False, name="dense")])
    model.compile(optimizer, "mse")
    return model


def everything(augmented=True, dropout=0.3):
    """All that a trace can be left in: BatchNorm, Dropout, augmentation, a frozen layer."""
    keras.utils.set_random_seed(0)
    x = pictures = keras.Input((8, 8, 3))
    if augmented:
        x = layers.RandomTranslation(0.2, 0.2, name="augmentation")(x)
    x = layers.Conv2D(4, 3, name="frozen", trainable=False)(layers.Rescaling(1 / 255)(x))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    return keras.Model(pictures, layers.Dense(3, name="head")(x))


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = random.integers(0, 100, (24, 8, 8, 3)).astype("float32")
    x[np.arange(24), :, :, y] += 100
    return x, y


def trace(model):
    """A digest of every variable of the model and its optimizer, and all else that a fit writes on a model."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    digest = hashlib.sha256(b"".join(np.array(variable).tobytes() for variable in variables)).hexdigest()
    flags = [layer.trainable for layer in model.layers] + [variable.trainable for variable in model.variables]
    written = {name: id(vars(model).get(name)) for name in ("optimizer", "loss", "history", "_compile_config")}
    return digest, len(variables), flags, written, model.compiled, getattr(model, "stop_training", None)


@pytest.mark.parametrize(("scale", "steps"), [(1.0, 100), (10.0, 60)])
def test_the_suggestion_lies_below_the_bound_of_gradient_descent_and_within_a_decade(scale, steps):
    x, y, curvature = regression(scale)
    found = lr_find(linear_model(), endless(x, y), high=10.0, steps=steps)
    bound = 2 / curvature
    assert bound / 10 < found.valley < bound
    assert found.valley / 10 < found.steepest < bound
    assert found.diverged > bound  # below it the loss cannot grow
    np.testing.assert_allclose(np.diff(np.log(found.rates)), np.log(1e8) / (steps - 1), rtol=1e-6)


def by_hand(x, y, w, rates):
    """The losses of gradient descent, a step at each rate."""
    losses = []
    for rate in rates:
        losses.append(np.mean((x @ w - y) ** 2))
        w = w - rate * 2 * x.T @ (x @ w - y) / len(x)
    return losses


def made(noise=0.0, fall=1.0, seed=0):
    """A plateau at 2 up to 1e-3, a straight fall to 1e-1, then an explosion."""
    rates = np.geomspace(1e-7, 10, 160)
    place = np.log10(rates)
    losses = 2.0 - fall * np.clip((place + 3) / 2, 0, 1) + 10 * np.clip(place, 0, None)
    return LearningRates(rates, losses + noise * np.random.default_rng(seed).normal(size=160), 160 * 0.03)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
def test_valley_and_steepest_of_a_fall_that_is_known(noise):
    for seed in range(5):
        found = made(noise, seed=seed)
        # begun after a tenth of the fall: between 10^-2.8 and 10^-1
        assert np.log10(found.valley) == pytest.approx(-1.75, abs=0.1 if noise == 0 else 0.4)
        assert -3 < np.log10(found.steepest) < -1


def test_the_smoothing_is_a_gaussian_mean_to_both_sides():
    weights = [np.exp(-0.5 * ((np.arange(9) - point) / 2) ** 2) for point in range(9)]
    by_point = [np.average(np.arange(9.0) ** 2, weights=one) for one in weights]
    np.testing.assert_allclose(smooth(np.arange(9.0) ** 2, 2.0), by_point)
    np.testing.assert_allclose(smooth(np.arange(9.0), 2.0)[4], 4)  # it does not lag


def test_noise_alone_suggests_nothing():
    suggested = [made(noise=0.3, fall=0.0, seed=seed).suggestions for seed in range(50)]
    assert sum(bool(one) for one in suggested) <= 5
    rising = LearningRates(np.geomspace(1e-4, 1, 20), np.arange(20.0), 1.0)
    assert (rising.valley, rising.steepest) == (None, None)
    assert "no suggestion, the loss did not fall" in str(rising)


@pytest.mark.slow
def test_no_trace_is_left_in_a_compiled_model(pictures):
    models = [everything(), everything()]
    for model in models:
        model.compile(keras.optimizers.Adam(1e-3, use_ema=True), LOSS, metrics=["accuracy"])
        model.fit(*pictures, batch_size=8, epochs=1, shuffle=False, verbose=0)
    swept, other = models
    before = trace(swept)
    for high in (1e-2, 1e8):  # to its end, and to divergence
        found = lr_find(swept, *pictures, batch_size=8, steps=12, high=high, stop_factor=1.5)
        assert trace(swept) == before
        assert (found.diverged is None) == (high < 1)
    for model in models:  # and what comes after is bit for bit the same: moments, random states, everything
        model.fit(*pictures, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert trace(swept)[0] == trace(other)[0]


def test_no_trace_is_left_by_an_interrupted_sweep(pictures, monkeypatch):
    seen = []

    def interrupt(finder):
        seen.append(trace(finder.model)[0])
        if len(finder.rates) == 5:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(LearningRateFinder, "_too_high", interrupt)
    models = [everything(), everything()]
    models[0].compile("adam", LOSS)
    for model in models:
        before, written = trace(model), set(vars(model))
        with pytest.raises(KeyboardInterrupt):
            lr_find(model, *pictures, batch_size=8, steps=12, low=1e-2)
        assert len({*seen[-5:], before[0]}) == 6  # it did train until then
        assert trace(model) == before
        assert set(vars(model)) == written


def test_a_model_that_is_not_compiled_stays_so(pictures):
    model = everything()
    before, attributes = trace(model), set(vars(model))
    found = lr_find(model, *pictures, batch_size=8, steps=12)
    assert trace(model) == before
    assert (set(vars(model)), model.compiled) == (attributes, False)
    one_hot = lr_find(model, pictures[0], np.eye(3)[pictures[1]], batch_size=8, steps=12)
    np.testing.assert_allclose(found.losses, one_hot.losses, rtol=1e-5)  # the loss suits the labels
    assert found.losses[0] == pytest.approx(np.log(3), abs=0.5)  # and the logits


@pytest.mark.slow
def test_every_kind_of_data_gives_the_same_sweep(pictures):
    import tensorflow as tf

    x, y = pictures
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", LOSS)
    settings = {"steps": 12, "low": 1e-3}
    expected = lr_find(model, x, y, batch_size=24, **settings).losses
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(24)
    data = ImageData.from_arrays(x, y, validation=(255 - x, y), batch_size=24)
    for given in (Batches(ArraySource(x, y), 24), stream, stream.repeat(), data, data.splits["train"], (x, y)):
        size = {} if given is data else {"batch_size": 24}  # ImageData brings its own
        found = lr_find(model, given, **settings, **size).losses
        assert len(found) == 12  # one batch, twelve times
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.SGD(OneCycle(0.1, 100)),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(OneCycle(0.1, 100))),
        pytest.param(lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), marks=pytest.mark.slow),
        pytest.param(lambda: LayerwiseOptimizer(keras.optimizers.SGD(0.1), {"dense": 1.0}), marks=pytest.mark.slow),
        lambda: LayerwiseOptimizer(keras.optimizers.SGD(OneCycle(0.1, 100)), {"dense": 1.0}),
        lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    ],
)
def test_every_optimizer_with_one_rate_is_swept_alike(make):
    x, y, _ = regression()
    model = linear_model()
    optimizer = make()
    model.compile(optimizer, "mse")
    config = optimizer.get_config()
    start = np.array(model.layers[0].kernel, dtype="float64")
    found = lr_find(model, endless(x, y), low=1e-3, high=0.1, steps=15)
    np.testing.assert_allclose(found.losses, by_hand(x, y, start, found.rates), rtol=1e-3)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 0.1, 15))
    assert model.optimizer is optimizer
    assert optimizer.get_config() == config
    assert not optimizer.built  # it was never used


def test_another_optimizer_or_loss_can_be_tried():
    x, y, _ = regression()
    model = linear_model(optimizer="adam")
    before = trace(model)
    start = np.array(model.layers[0].kernel, dtype="float64")
    settings = {"low": 1e-3, "high": 0.1, "steps": 15}
    for given in ("sgd", keras.optimizers.SGD(0.5)):
        found = lr_find(model, endless(x, y), optimizer=given, **settings)
        np.testing.assert_allclose(found.losses, by_hand(x, y, start, found.rates), rtol=1e-3)
    found = lr_find(model, endless(x, y), loss="mae", **settings)
    assert found.losses[0] == pytest.approx(np.abs(x @ start - y).mean(), rel=1e-5)
    assert trace(model) == before


def test_several_batches_in_one_execution_are_one_point():
    x, y, _ = regression()
    model = linear_model()
    model.compile("sgd", "mse", steps_per_execution=2)
    start = np.array(model.layers[0].kernel, dtype="float64")
    found = lr_find(model, endless(x, y), low=1e-3, high=0.1, steps=10)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 0.1, 10))
    each = by_hand(x, y, start, np.repeat(found.rates, 2))
    np.testing.assert_allclose(found.losses, np.reshape(each, (10, 2)).mean(1), rtol=1e-3)


class Counts(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.epochs = self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        self.saved = [np.array(weight) for weight in self.model.weights]


def test_as_a_callback_it_ends_the_fit_and_puts_everything_back(pictures):
    model = everything()
    model.compile(keras.optimizers.Adam(3e-4, use_ema=True), LOSS)
    model.fit(*pictures, batch_size=8, verbose=0)
    model.get_layer("head").bias.assign([1.0, 2.0, 3.0])  # unlike their average, which a fit ends with
    before, start = trace(model), [np.array(weight) for weight in model.weights]
    finder, counts = LearningRateFinder(steps=10), Counts()
    model.fit(*pictures, batch_size=8, epochs=50, callbacks=[counts, finder], verbose=0)
    assert trace(model)[0] == before[0]
    assert float(model.optimizer.learning_rate) == pytest.approx(3e-4)
    assert (counts.batches, counts.epochs, len(finder.result.rates)) == (10, 4, 10)
    for saved, weight in zip(counts.saved, start, strict=True):  # what a ModelCheckpoint would have written last
        np.testing.assert_array_equal(saved, weight)
    model.fit(*pictures, batch_size=8, epochs=2, callbacks=[finder], verbose=0)
    assert len(finder.result.rates) == 6  # too short a fit: what there is


def test_as_a_callback_it_is_restored_by_hand_after_an_interruption(pictures):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    model = everything()
    model.compile("adam", LOSS)
    model.fit(*pictures, batch_size=8, verbose=0)
    before, finder = trace(model)[0], LearningRateFinder(low=1e-2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*pictures, batch_size=8, callbacks=[finder, Interrupt()], verbose=0)
    assert trace(model)[0] != before
    finder.restore()
    assert trace(model)[0] == before


def test_in_a_fit_of_the_trainable_part_it_sees_the_same_losses(pictures):
    """There the frozen part is cached, and the logged losses are the running means of another model's metrics."""
    x, y = pictures[0][:21], pictures[1][:21]  # a last batch of five
    losses = []
    for whole in (False, True):
        model = everything(augmented=False, dropout=0.0)
        freeze(model)
        unfreeze(model, "head")
        before, finder = trace(model)[0], LearningRateFinder(1e-3, 10.0, steps=12)
        if whole:
            model.compile("sgd", LOSS)
            model.fit(
                Batches(ArraySource(x, y), 8, shuffle=True), epochs=10, shuffle=False, callbacks=[finder], verbose=0
            )
        else:
            fit(model, x, y, optimizer=keras.optimizers.SGD(0.1), loss=LOSS, epochs=10, batch_size=8, callbacks=[finder], verbose=0)  # fmt: skip # noqa: E501
        losses.append(finder.result.losses)
        model.optimizer = None
        assert trace(model)[0] == before
    full = np.arange(12) % 3 != 2  # the running mean does not say how small the last batch is
    np.testing.assert_allclose(losses[0][full], losses[1][full], rtol=1e-3)
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.2)


@pytest.mark.slow
def test_the_suggested_rate_trains_digits_better_than_a_hundredth_and_no_worse_than_ten_times_it():
    x, y = digits()
    x = x.reshape(len(x), -1).astype("float32") / 255

    def build():
        keras.utils.set_random_seed(1)
        return keras.Sequential([keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10)])

    def loss_after(rate):
        one = build()
        one.compile(keras.optimizers.SGD(rate, momentum=0.9), LOSS)
        one.fit(x[:1200], y[:1200], batch_size=32, epochs=3, verbose=0)
        return one.evaluate(x[1200:], y[1200:], batch_size=600, verbose=0)

    found = lr_find(build(), x[:1200], y[:1200], optimizer=keras.optimizers.SGD(0.1, momentum=0.9), high=10.0)
    good = loss_after(found.valley)
    assert good < 0.5 * loss_after(found.valley / 100)
    assert good < loss_after(found.valley * 10)
    assert good < 0.5


def test_what_was_found_shows_itself():
    found = made()
    assert str(found).startswith("Learning rates: valley 1.8e-02, steepest ")
    assert "160 rates from 1.0e-07 to 1.0e+01" in str(found)
    labels = [line.get_label() for line in found.plot().axes[0].lines]
    assert labels[2:] == [f"{name}: {rate:.1e}" for name, rate in found.suggestions.items()]
    html = found._repr_html_()
    assert "data:image/png;base64," in html
    assert str(found) in html


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low": 0.1, "high": 0.1}, r"`low` must be below `high`. Received: low=0.1, high=0.1"),
        ({"low": 0}, "`low` must be a number above 0"),
        ({"high": float("nan")}, "`high` must be"),
        ({"steps": 9}, "`steps` must be at least 10"),
        ({"steps": 20.5}, "`steps` must be a whole number"),
        ({"stop_factor": 1}, "`stop_factor` must be a number above 1"),
        ({"smoothing": 0}, "`smoothing` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    x, y, _ = regression()
    with pytest.raises(ValueError, match=message):
        lr_find(linear_model(), x, y, **settings)


def test_wrong_models_and_data_are_named():
    import tensorflow as tf

    x, y, _ = regression()
    model = linear_model()
    empty = tf.data.Dataset.from_tensor_slices((x[:0], y[:0])).batch(4)
    for data in ((x[:0], y[:0]), (empty,), (None,)):
        with pytest.raises(ValueError, match="at least one"):
            lr_find(model, *data)
    with pytest.raises(ValueError, match=r"seen no batch yet"):
        lr_find(model, empty.filter(lambda *_: True), steps=10)  # nobody could know
    with pytest.raises(TypeError, match="A generator must come as"):
        lr_find(model, ((x, y) for _ in range(100)))
    with pytest.raises(ValueError, match=r"must be a number at the lowest rate.*Received: loss nan at 1e-07"):
        lr_find(model, x * np.nan, y)
    assert np.isfinite(np.array(model.layers[0].kernel)).all()
    with pytest.raises(ValueError, match="must be built"):
        lr_find(keras.Sequential([layers.Dense(1)]), x, y)
    frozen = linear_model()
    frozen.trainable = False
    with pytest.raises(ValueError, match="At least one layer must train"):
        lr_find(frozen, x, y)

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    own = Own()
    own.kernel = own.add_weight((1,))
    own.built = True
    with pytest.raises(ValueError, match=r"must be compiled.*Received: Own"):
        lr_find(own, x, y, loss="mse")


def test_optimizers_that_cannot_be_swept_are_named():
    x, y, _ = regression()
    many = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(), {".*none.*": keras.optimizers.Adam()})
    )
    with pytest.raises(ValueError, match=r"one constant `learning_rate`.*Received: MultiOptimizer with several rates"):
        lr_find(linear_model(optimizer=many), x, y)
    with pytest.raises(ValueError, match="Received: SGD with a schedule"):
        linear_model(optimizer=keras.optimizers.SGD(OneCycle(0.1, 10))).fit(
            x, y, callbacks=[LearningRateFinder()], verbose=0
        )


JAX = """
import numpy as np
import keras
from keras_transfer.core.fitting import fit
from keras_transfer.core.schedules import OneCycle
from keras_transfer.tuning.lr_finder import LearningRateFinder, lr_find

layers = keras.layers
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x @ np.linspace(-1, 1, 8)[:, None]).astype("float32")
bound = 2 / np.linalg.eigvalsh(2 * x.T @ x / 64).max()

def values(model):
    return [np.array(keras.ops.convert_to_numpy(one)) for one in [*model.variables, *model.optimizer.variables]]

def build():
    keras.utils.set_random_seed(0)
    stack = [layers.BatchNormalization(), layers.Dropout(0.1), layers.Dense(1)]
    return keras.Sequential([keras.Input((8,)), *stack])

models = [build(), build()]
for model in models:
    model.compile(keras.optimizers.SGD(OneCycle(0.1, 100), momentum=0.9), "mse")
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
before = values(models[0])
found = lr_find(models[0], x, y, batch_size=64, high=10.0, steps=60)
assert bound / 100 < found.valley < bound, (found.valley, bound)
assert all(np.array_equal(a, b) for a, b in zip(before, values(models[0])))
for model in models:
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
assert all(np.array_equal(a, b) for a, b in zip(values(models[0]), values(models[1])))

# Adagrad has as many slots as momentum: JAX must not run a step that was traced with the other optimizer
finder = LearningRateFinder(steps=10)
model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
model.fit(x, y, batch_size=16, verbose=0)
losses = lr_find(model, x, y, batch_size=16, low=1e-3, steps=10, optimizer=keras.optimizers.Adagrad(0.1)).losses
model.compile(keras.optimizers.Adagrad(0.1), "mse")
assert np.allclose(lr_find(model, x, y, batch_size=16, low=1e-3, steps=10).losses, losses)
model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
model.fit(x, y, batch_size=16, verbose=0)
before = values(model)
model.fit(x, y, batch_size=16, epochs=5, callbacks=[finder], verbose=0)
assert len(finder.result.rates) == 10 and all(np.array_equal(a, b) for a, b in zip(before, values(model)))
model.layers[0].trainable = False
try:
    fit(model, x, y, optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=(), epochs=3, callbacks=[finder], verbose=0)
except ValueError as error:
    assert "On JAX the finder needs the model's own" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.slow
def test_it_runs_on_jax(on_jax):
    assert on_jax(JAX) == "done on JAX"


TWO = """
from keras_transfer.tuning.lr_finder import lr_find

layers = keras.layers
x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x @ np.linspace(-1, 1, 8)[:, None]).astype("float32")
with tf.distribute.MirroredStrategy().scope():
    stack = [layers.BatchNormalization(), layers.Dropout(0.1, seed=1), layers.Dense(1)]
    model = keras.Sequential([keras.Input((8,)), *stack])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
assert model.distribute_strategy.num_replicas_in_sync == 2
model.fit(x, y, batch_size=16, verbose=0)

def values():
    variables = [*model.variables, *model.optimizer.variables]
    local = [model.distribute_strategy.experimental_local_results(one.value) for one in variables]
    return [part.numpy() for parts in local for part in parts]  # on each device

before = values()
assert len(before) == 2 * (len(model.variables) + len(model.optimizer.variables))
found = lr_find(model, x, y, batch_size=16, low=1e-4, steps=16)
assert all(np.array_equal(a, b) for a, b in zip(before, values(), strict=True))
model.fit(x, y, batch_size=16, verbose=0)
assert not all(np.array_equal(a, b) for a, b in zip(before, values(), strict=True))
print(len(found.losses), np.isfinite(found.losses).all(), len(set(found.losses)))
"""


@pytest.mark.distributed
def test_two_devices_are_swept_and_left_as_they_were(two_devices):
    assert two_devices(TWO) == "16 True 16"
