"""Stages: what moves in each, one history, the best epoch over all of them, callbacks that see one training and the whole model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.backbones import build_classifier
from keras_transfer.core import activations
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.surgery import own_variables, walk
from keras_transfer.tuning import Stage, WeightAveraging, fine_tune, fit_stages, full, partial, recipe

HEAD, TOP, ALL = Stage("head", "head", 2, 1e-2), Stage("top", ["head", "top:1"], 2, 1e-3), Stage("all", None, 2, 1e-4)


def classifier(dropout=0.0, blocks=3, **settings):
    """A small backbone of three blocks with BatchNorm, pretrained in name, so frozen."""
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((32, 32, 3))
    for block in range(1, blocks + 1):
        x = keras.layers.Conv2D(8, 3, strides=2, name=f"conv{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(keras.layers.BatchNormalization(name=f"bn{block}")(x))
    settings = {"augmentation": "none", "preprocessing": "tf", "dropout": dropout, **settings}
    return build_classifier(keras.Model(pixels, x), 3, **settings)


@pytest.fixture
def pictures():
    """Three colours under noise: something that a head can learn."""
    random = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = random.integers(0, 100, (48, 32, 32, 3)).astype("float32")
    x[np.arange(48), :, :, y] += 100
    return x, y


class Snapshots(keras.callbacks.Callback):
    """The weights at the end of every epoch, by the path of their layer."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        layers = [layer for layer in walk(self.model) if own_variables(layer)]
        self.seen.append({layer.name: [np.array(v) for v in own_variables(layer)] for layer in layers})

    def moved(self, first, last):
        one, other = self.seen[first], self.seen[last]
        return {name for name in one if not all(map(np.array_equal, one[name], other[name]))}


def difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


class Script(keras.callbacks.Callback):
    """Validation figures as written, and the epoch number in the head's bias."""

    def __init__(self, accuracy):
        super().__init__()
        self.accuracy = accuracy

    def on_epoch_end(self, epoch, logs=None):
        logs.update(val_accuracy=self.accuracy[epoch], val_loss=1.0)
        self.model.get_layer("head").get_layer("logits").bias.assign([float(epoch)] * 3)


def bias(model):
    return float(np.array(model.get_layer("head").get_layer("logits").bias)[0])


def test_each_stage_moves_its_layers_and_no_other(pictures):
    look = Snapshots()
    fit_stages(classifier(), [HEAD, TOP, ALL], *pictures, callbacks=[look], verbose=0)
    assert look.moved(0, 1) == {"logits"}
    assert look.moved(2, 3) == {"logits", "conv3"}  # the frozen BatchNorm of the block stays
    assert look.moved(4, 5) == {"logits", "conv1", "conv2", "conv3"}


@pytest.mark.parametrize("policy", ["train", pytest.param("reestimate", marks=pytest.mark.slow)])
def test_batch_norm_trains_where_the_stage_says_so(pictures, policy):
    look = Snapshots()
    model = classifier()
    stage = Stage("top", ["head", "top:1"], 3, 1e-3, batch_norm=policy)
    fit_stages(model, [HEAD, stage], *pictures, callbacks=[look], verbose=0)
    assert look.moved(2, 3) == {"logits", "conv3", "bn3"}


def test_reestimated_statistics_are_those_of_the_data(pictures):
    """One batch: its mean is the moving mean after the stage, which a momentum of 0.99 would not reach in 3 steps."""
    model = classifier()
    stage = Stage("all", None, 3, 1e-3, batch_norm="reestimate")
    fit_stages(model, [HEAD, stage], *pictures, batch_size=48, verbose=0)
    inner = model.get_layer("backbone")
    before = keras.Model(inner.inputs, inner.get_layer("conv1").output)
    found = np.array(before(pictures[0] / 127.5 - 1)).mean((0, 1, 2))
    np.testing.assert_allclose(np.array(inner.get_layer("bn1").moving_mean), found, atol=1e-4)


@pytest.mark.slow
def test_batch_norm_that_came_trainable_trains(pictures):
    model = unfreeze(classifier(), "bn3", batch_norm="train")
    look = Snapshots()
    fit_stages(model, [HEAD, TOP], *pictures, callbacks=[look], verbose=0)
    assert look.moved(2, 3) == {"logits", "conv3", "bn3"}
    assert look.moved(0, 1) == {"logits"}


@pytest.mark.slow
def test_staged_on_cached_activations_is_staged_without(pictures):
    models = []
    for cache in (True, False):
        activations.forget()
        model = classifier(dropout=0.2)
        keras.utils.set_random_seed(1)
        fit_stages(model, [HEAD, TOP, ALL], *pictures, validation_data=pictures, cache=cache, batch_size=10, verbose=0)
        models.append(model)
    assert difference(*models) < 1e-5


@pytest.mark.slow
def test_agrees_with_keras_stage_by_stage(pictures):
    """Number: the same three fits written with plain Keras."""
    ours, plain = classifier(), classifier()
    fit_stages(ours, [HEAD, TOP, ALL], *pictures, shuffle=False, batch_size=16, verbose=0)
    for stage in (HEAD, TOP, ALL):
        unfreeze(freeze(plain), stage.where)
        plain.compile(keras.optimizers.Adam(stage.learning_rate), keras.losses.SparseCategoricalCrossentropy(True))
        plain.fit(*pictures, epochs=stage.epochs, shuffle=False, batch_size=16, verbose=0)
    assert difference(ours, plain) < 1e-5


@pytest.mark.slow
def test_the_best_epoch_is_kept_over_stages(pictures):
    """The best of the second stage is below the first stage's: the model ends where the first stage was best."""
    script = Script([0.5, 0.9, 0.6, 0.8, 0.7, 0.85])
    model = classifier()
    history = fit_stages(
        model, [HEAD, TOP, ALL], *pictures, validation_data=pictures, callbacks=[script], patience=5, verbose=0
    )
    assert history.best_epoch == 1
    assert bias(model) == 1.0
    assert history.epoch == list(range(6))
    assert len(history.history["val_accuracy"]) == len(history.history["loss"]) == 6


def test_early_stopping_ends_a_stage_and_the_next_starts_from_the_best(pictures):
    starts = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            starts.append((epoch, bias(self.model)))

    script = Script([0.5, 0.9, 0.6, 0.6, 0.95, 0.7, 0.7, 0.7])
    stages = [Stage("head", "head", 8, 1e-2), Stage("all", None, 8, 1e-4)]
    model = classifier()
    history = fit_stages(
        model, stages, *pictures, validation_data=pictures, callbacks=[script, Look()], patience=2, verbose=0
    )
    assert [stage["first_epoch"] for stage in history.stages] == [0, 4]
    assert [stage["epochs"] for stage in history.stages] == [4, 3]
    assert starts[4] == (4, 1.0)  # the second stage starts from the best of the first
    assert history.best_epoch == 4
    assert bias(model) == 4.0


@pytest.mark.slow
def test_an_early_stopping_of_ones_own_keeps_its_best_from_stage_to_stage(pictures):
    script = Script([0.5, 0.9, 0.6, 0.7, 0.8, 0.85, 0.6, 0.6])
    stop = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=2, restore_best_weights=True)
    stages = [Stage("head", "head", 8, 1e-2), Stage("all", None, 8, 1e-4)]
    model = classifier()
    history = fit_stages(
        model, stages, *pictures, validation_data=pictures, callbacks=[script, stop], keep="last", verbose=0
    )
    assert history.epoch == [0, 1, 2, 3, 4, 5]
    assert stop.best == pytest.approx(0.9)
    assert bias(model) == 1.0


def test_any_other_callback_that_stops_the_training_stops_all_of_it(pictures):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = fit_stages(classifier(), [HEAD, TOP, ALL], *pictures, callbacks=[Enough()], verbose=0)
    assert history.epoch == [0, 1]


def test_callbacks_see_one_training_and_the_whole_model(pictures, tmp_path):
    calls = []

    class Log(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append("begin")

        def on_train_end(self, logs=None):
            calls.append("end")

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(epoch)

    path = str(tmp_path / "epoch{epoch}.keras")
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    model = classifier()
    fit_stages(model, [HEAD, TOP], *pictures, callbacks=[Log(), keras.callbacks.ModelCheckpoint(path), log], verbose=0)
    assert calls == ["begin", 0, 1, 2, 3, "end"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    last = keras.models.load_model(tmp_path / "epoch4.keras")
    np.testing.assert_allclose(last.predict(pictures[0], verbose=0), model.predict(pictures[0], verbose=0), atol=1e-5)


def test_afterwards_the_whole_model_is_compiled(pictures):
    model = classifier()
    history = fit_stages(model, [HEAD, TOP], *pictures, verbose=0)
    assert model.history is history
    assert model.evaluate(*pictures, verbose=0, return_dict=True)["accuracy"] >= 0
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_a_loss_that_is_no_number_leaves_the_best_weights(pictures):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.model.get_layer("head").get_layer("logits").bias.assign([np.nan] * 3)

    script = Script([0.5, 0.9, 0.6, 0.6])
    model = classifier()
    with pytest.raises(FloatingPointError, match=r"no number in epoch 4.*epoch 2, the best") as error:
        fit_stages(model, [HEAD, TOP], *pictures, validation_data=pictures, callbacks=[script, Spoil()], verbose=0)
    assert str(error.value).count("\n") == 0
    assert bias(model) == 1.0


@pytest.mark.parametrize(("keep", "kept"), [("best", 1.0), pytest.param("last", 2.0, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_the_kept_weights_and_one_sentence(pictures, capsys, keep, kept):
    class CtrlC(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if len(self.model.history.epoch) == 3:
                raise KeyboardInterrupt

    script = Script([0.5, 0.9, 0.6, 0.6])
    model = classifier()
    settings = {"validation_data": pictures, "callbacks": [script, CtrlC()], "keep": keep, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        fit_stages(model, [HEAD, TOP], *pictures, **settings)
    assert bias(model) == kept
    said = capsys.readouterr().err.strip()
    assert said.startswith("Interrupted in stage 'top'")
    assert f"epoch {int(kept) + 1}" in said


def test_a_schedule_runs_over_the_stage(pictures):
    rates = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    stage = Stage("head", "head", 4, 1e-2, schedule="one_cycle")
    fit_stages(classifier(), [stage], *pictures, batch_size=8, callbacks=[Look()], verbose=0)
    assert max(rates) == pytest.approx(1e-2, rel=0.02)
    assert rates[0] < 2e-3
    assert rates[-1] < 1e-4


@pytest.mark.slow
def test_rates_fall_towards_the_input(pictures):
    look = Snapshots()
    sgd = {"optimizer": keras.optimizers.SGD, "learning_rate": 1e-3}
    fit_stages(classifier(), [Stage("all", None, 1, layer_decay=1e-3, **sgd)], *pictures, callbacks=[look], verbose=0)
    plain = Snapshots()
    fit_stages(classifier(), [Stage("all", None, 1, **sgd)], *pictures, callbacks=[plain], verbose=0)
    start = classifier()

    def way(found, name):
        here = next(layer for layer in walk(start) if layer.name == name)
        return np.abs(found.seen[0][name][0] - np.array(here.kernel)).max()

    assert way(look, "conv1") < way(plain, "conv1") * 1e-6
    assert way(look, "logits") == pytest.approx(way(plain, "logits"), rel=0.2)


def test_the_recipe_has_three_stages_at_falling_rates():
    stages = recipe(classifier(), epochs=4, head_epochs=2, learning_rate=1e-2)
    assert [(stage.name, stage.where, stage.epochs, stage.learning_rate) for stage in stages] == [
        ("head", "head", 2, 1e-2),
        ("top third", ["head", "top:1"], 4, pytest.approx(1e-3)),
        ("all", None, 4, pytest.approx(1e-4)),
    ]


def test_fine_tune_and_partial(pictures):
    look, part = Snapshots(), Snapshots()
    history = fine_tune(classifier(), *pictures, epochs=1, head_epochs=2, callbacks=[look], verbose=0)
    assert [stage["name"] for stage in history.stages] == ["head", "top third", "all"]
    assert history.epoch == [0, 1, 2, 3]
    assert look.moved(2, 3) == {"logits", "conv1", "conv2", "conv3"}
    history = partial(classifier(), *pictures, epochs=2, head_epochs=2, callbacks=[part], verbose=0)
    assert len(history.epoch) == 4
    assert part.moved(0, 3) == {"logits", "conv3"}


def test_a_model_in_which_nothing_is_frozen_is_refused(pictures):
    with pytest.raises(ValueError, match="Nothing in the model is frozen"):
        fine_tune(classifier(weights=None), *pictures, verbose=0)


def test_one_line_a_stage(pictures, capsys):
    fit_stages(classifier(), [HEAD, TOP], *pictures, verbose=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Stage")]
    assert lines[0] == "Stage 1 of 2, head: 27 weights train at 0.01, up to 2 epochs"
    assert lines[1].startswith("Stage 2 of 2, top: 6")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"learning_rate": -1e-3}, "above 0"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_norm": "frozen"}, "'freeze', 'train', 'reestimate'"),
        ({"learning_rate": keras.optimizers.schedules.CosineDecay(1e-3, 9), "schedule": "one_cycle"}, "not both"),
    ],
)
def test_a_wrong_stage_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Stage("all", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "at least one `Stage`"),
        ({"stages": [Stage("x", "heda")]}, "head"),
        ({"stages": [Stage("x", schedule="one_cycel")]}, "one_cycle"),
        ({"keep": "first"}, "'best' or 'last'"),
        ({"patience": 0}, "at least 1 epoch"),
        ({"patience": 2.5}, "a whole number"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"validation_data": []}, "`validation_data` must hold"),
        ({"y": np.arange(48) % 4}, "must be 0 to 2"),
        ({"y": np.eye(4)[np.arange(48) % 4]}, "a column for each of 3 outputs"),
        ({"y": np.eye(3)[np.zeros(48, int)]}, "at least two classes"),
        ({"y": np.array(["red", "blue"] * 24)}, "must be numbers"),
        ({"validation_data": (np.zeros((3, 32, 32, 3)), np.eye(3))}, "of the kind of those to train on"),
        ({"resume": True}, "`checkpoint` folder"),
        ({"validation_data": (np.zeros((0, 32, 32, 3)), np.zeros(0, int))}, "`validation_data` must hold"),
        ({"validation_data": tf.data.Dataset.range(0)}, "`validation_data` must hold"),
        ({"y": np.zeros(48, int)}, "at least two classes"),
    ],
)
def test_wrong_settings_are_refused(pictures, settings, message):
    x, y = pictures
    given = {"stages": [HEAD], "y": y, "verbose": 0, **settings}
    with pytest.raises(ValueError, match=message):
        fit_stages(classifier(), given.pop("stages"), x, given.pop("y"), **given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 5}, "`epochs` is said of each Stage"),
        ({"optimizer": "adam"}, "`optimizer` is said of each Stage"),
        ({"batchsize": 5}, "Did you mean 'batch_size'"),
        ({"validation_split": 0.1}, "Unknown setting"),
    ],
)
def test_a_setting_that_is_none_is_named(pictures, settings, message):
    with pytest.raises(TypeError, match=message):
        fit_stages(classifier(), [HEAD], *pictures, verbose=0, **settings)


def test_pictures_of_another_size_are_refused(pictures):
    with pytest.raises(ValueError, match=r"shape \(32, 32, 3\), the model's. Received: \(16, 16, 3\)"):
        fit_stages(classifier(), [HEAD], pictures[0][:, ::2, ::2], pictures[1], verbose=0)


def test_pictures_that_are_scaled_already_are_warned_of(pictures):
    with pytest.warns(UserWarning, match="look scaled already"):
        fit_stages(classifier(), [HEAD], pictures[0] / 255, pictures[1], verbose=0)


def test_endless_data_needs_the_length_of_an_epoch(pictures):
    endless = tf.data.Dataset.from_tensor_slices(pictures).batch(8).repeat()
    with pytest.raises(ValueError, match="pass `steps_per_epoch`"):
        fit_stages(classifier(), [HEAD], endless, verbose=0)
    history = fit_stages(classifier(), [HEAD], endless, steps_per_epoch=2, verbose=0)
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("optimizer", ["sgd", keras.optimizers.SGD(1e-3)])
def test_a_stage_makes_its_own_optimizer(optimizer):
    with pytest.raises(TypeError, match="must make an optimizer"):
        Stage("all", optimizer=optimizer)


def test_without_validation_data_it_says_what_is_kept(pictures, capsys):
    fit_stages(classifier(), [HEAD], *pictures, verbose=2)
    assert "No validation data" in capsys.readouterr().out


def test_a_folder_is_no_data():
    with pytest.raises(TypeError, match="load_images"):
        fine_tune(classifier(), "photos/")


@pytest.mark.slow
def test_full_after_stages_trains_on(pictures):
    model = classifier()
    fine_tune(model, *pictures, epochs=1, head_epochs=1, verbose=0)
    history = full(model, *pictures, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


class Reach(Script):
    """As `Script`, and the weights of every epoch's end are there to compare with."""

    def __init__(self, accuracy):
        super().__init__(accuracy)
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.weights.append(self.model.get_weights())


@pytest.mark.fast(1)
@pytest.mark.parametrize(
    ("accuracy", "best"), [([0.5, 0.6, 0.7, 0.9, 0.8, 0.8], 3), ([0.5, 0.9, 0.7, 0.8, 0.8, 0.8], 1)]
)
def test_the_kept_weights_are_those_of_the_best_epoch_bit_for_bit(pictures, accuracy, best):
    reach, model = Reach(accuracy), classifier()
    fit_stages(model, [HEAD, TOP, ALL], *pictures, validation_data=pictures, callbacks=[reach], verbose=0)
    for one, other in zip(model.get_weights(), reach.weights[best], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_statistics_are_not_renewed_in_a_best_of_an_earlier_stage(pictures):
    reach, model = Reach([0.5, 0.9, 0.6, 0.6]), classifier()
    stages = [HEAD, Stage("all", None, 2, 1e-3, batch_norm="reestimate")]
    history = fit_stages(model, stages, *pictures, validation_data=pictures, callbacks=[reach], verbose=0)
    assert history.best_epoch == 1
    for one, other in zip(model.get_weights(), reach.weights[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_renewed_statistics_last_where_the_next_stage_is_no_better(pictures):
    reach, model = Reach([0.5, 0.6, 0.9, 0.6, 0.6, 0.6]), classifier()
    stages = [HEAD, Stage("top", ["head", "top:1"], 2, 1e-3, batch_norm="reestimate"), Stage("last", "head", 2, 1e-3)]
    starts = []
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: starts.append(model.get_weights()))
    fit_stages(model, stages, *pictures, validation_data=pictures, callbacks=[reach, begin], verbose=0)
    for one, other in zip(model.get_weights(), starts[4], strict=True):
        np.testing.assert_array_equal(one, other)
    assert difference_of(starts[4], reach.weights[2]) > 1e-3  # they were renewed


def difference_of(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "last", [Stage("x", "heda"), Stage("x", schedule="one_cycel"), Stage("x", layer_decay=2.0), Stage("x", "bn3")]
)
def test_a_wrong_last_stage_is_found_before_the_first_step(pictures, last):
    model, look = classifier(), Snapshots()
    before = model.get_weights()
    with pytest.raises(ValueError, match="Received"):
        fit_stages(model, [HEAD, last], *pictures, callbacks=[look], verbose=0)
    assert not look.seen
    assert difference_of(before, model.get_weights()) == 0
    assert {v.path for v in model.trainable_weights} == {v.path for v in classifier().trainable_weights}


def test_a_stop_in_the_first_epoch_stops_all_beside_an_idle_early_stopping(pictures):
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", True))
    idle = keras.callbacks.EarlyStopping("loss", patience=50)
    history = fit_stages(classifier(), [HEAD, TOP], *pictures, callbacks=[idle, stop], verbose=0)
    assert history.epoch == [0]


@pytest.mark.slow
def test_best_epoch_is_none_where_a_callback_puts_other_weights_in(pictures):
    script = Script([0.5, 0.9, 0.6, 0.6])
    model = classifier()
    averaging = WeightAveraging(2)
    history = fit_stages(
        model, [HEAD, TOP], *pictures, validation_data=pictures, callbacks=[script, averaging], verbose=0
    )
    assert averaging.count == 2
    assert history.best_epoch is None


@pytest.mark.slow
def test_averaging_gets_the_data_where_batch_norm_trains(pictures):
    averaging = WeightAveraging(3)
    stage = Stage("all", None, 2, 1e-3, batch_norm="train")
    fit_stages(classifier(), [HEAD, stage], *pictures, callbacks=[averaging], keep="last", verbose=0)
    assert averaging.count == 1


@pytest.mark.slow
def test_batch_norm_without_scale_and_centre_trains_where_it_came_so(pictures):
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="conv")(x)
    x = keras.layers.BatchNormalization(center=False, scale=False, name="bn")(x)
    model = build_classifier(keras.Model(pixels, x), 3, weights=None, augmentation="none", preprocessing="tf")
    fit_stages(model, [Stage("all", None, 1, 1e-3)], *pictures, verbose=0)
    assert np.abs(np.array(model.get_layer("backbone").get_layer("bn").moving_mean)).max() > 0


@pytest.mark.slow
def test_a_history_of_ones_own_sees_one_training(pictures):
    own = keras.callbacks.History()
    fit_stages(classifier(), [HEAD, TOP], *pictures, callbacks=[own], verbose=0)
    assert own.epoch == [0, 1, 2, 3]
    assert len(own.history["loss"]) == 4


def test_a_schedule_counts_the_steps_of_an_optimizer_that_gathers_batches(pictures):
    rates = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    def gathering(rate):
        return keras.optimizers.Adam(rate, gradient_accumulation_steps=3)

    stage = Stage("head", "head", 2, 1e-2, schedule="warmup_linear", optimizer=gathering)
    fit_stages(classifier(), [stage], *pictures, batch_size=8, callbacks=[Look()], verbose=0)
    assert len(rates) == 12
    assert all(len(set(rates[first : first + 3])) == 1 for first in range(0, 12, 3))


def test_numbers_in_the_logs_may_be_numpys(pictures, tmp_path):
    def add(epoch, logs):
        logs["mine"] = np.float32(epoch)

    mine = keras.callbacks.LambdaCallback(on_epoch_end=add)
    history = fit_stages(classifier(), [HEAD], *pictures, callbacks=mine, checkpoint=tmp_path, verbose=0)
    assert history.history["mine"] == [0, 1]


@pytest.mark.slow
def test_any_error_leaves_the_best_weights(pictures):
    class Full(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                raise OSError("No space left on device")

    script, model = Script([0.5, 0.9, 0.6, 0.6]), classifier()
    with pytest.raises(OSError, match="No space"):
        fit_stages(model, [HEAD, TOP], *pictures, validation_data=pictures, callbacks=[script, Full()], verbose=0)
    assert bias(model) == 1.0


@pytest.mark.parametrize("metric", [pytest.param("sparse_categorical_accuracy", marks=pytest.mark.slow), "acc"])
def test_an_accuracy_by_another_name_decides_too(pictures, metric):
    class Named(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update({f"val_{metric}": [0.9, 0.5][epoch], "val_loss": [1.0, 0.5][epoch]})

    metrics = [keras.metrics.SparseCategoricalAccuracy(name=metric)]
    history = fit_stages(
        classifier(), [HEAD], *pictures, validation_data=pictures, callbacks=[Named()], metrics=metrics, verbose=0
    )
    assert history.best_epoch == 0


@pytest.mark.slow
def test_fine_tune_takes_the_choices_of_the_recipe(pictures):
    history = fine_tune(classifier(), *pictures, epochs=2, head_epochs=1, schedule="one_cycle", verbose=0)
    assert [stage["schedule"] for stage in history.stages] == ["constant", "one_cycle", "one_cycle"]
