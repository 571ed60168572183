"""A head that is solved: written exactly, told as a fit of one epoch, and what it cannot be given is refused."""

import keras
import numpy as np
import pytest

from keras_transfer.core.closed_form import Solution, integer_labels, log_softmax, solve_head
from keras_transfer.core.freezing import trainable_report


def solve(x, labels, weights, classes, seed):
    random = np.random.default_rng(7)
    return Solution(random.normal(size=(x.shape[1], classes)), random.normal(size=classes), {"found": 1.0})


def run(model, *data, **settings):
    return solve_head(model, *data, "a head", solve, {"verbose": 0, **settings})


def test_the_solution_is_the_head_and_the_figures_are_those_of_the_model(small_model, pictures):
    model = small_model(augmentation=True)
    backbone = [np.array(one) for one in model.get_layer("backbone").weights]
    x, y = pictures
    history = run(model, x[:30], y[:30], validation_data=(x[30:], y[30:]))
    wanted = solve(np.zeros((1, 8)), None, None, 3, 0)
    dense = model.get_layer("head").get_layer("logits")
    np.testing.assert_allclose(np.array(dense.kernel), wanted.kernel, rtol=1e-6)
    np.testing.assert_allclose(np.array(dense.bias), wanted.bias, rtol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(backbone, model.get_layer("backbone").weights, strict=True))
    for prefix, part in (("", slice(0, 30)), ("val_", slice(30, 50))):
        loss, accuracy = model.evaluate(x[part], y[part], verbose=0)  # it is compiled
        assert history.history[f"{prefix}loss"][0] == pytest.approx(loss, rel=1e-4)
        assert history.history[f"{prefix}accuracy"][0] == pytest.approx(accuracy)
    assert (history.epoch, history.best_epoch, model.history) == ([0], 0, history)
    stage = history.stages[0]
    told = {"name": "a head", "first_epoch": 0, "learning_rate": None, "trainable": 27, "epochs": 1, "found": 1.0}
    assert told.items() <= stage.items()
    assert [block["state"] for block in stage["blocks"]] == ["frozen"] * (len(stage["blocks"]) - 1) + ["trained"]
    assert trainable_report(model).trainable == 27
    assert run(model, x, y).best_epoch is None  # nothing was held out
    assert run(model, x, y, validation_data=pictures, keep="last").best_epoch is None


def test_callbacks_see_one_epoch(small_model, pictures):
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)),
        on_train_end=lambda logs: seen.append("end"),
    )
    run(small_model(), *pictures, callbacks=watch, seed=3, batch_size=8, patience=2, views=9)
    assert seen == ["begin", 0, ["accuracy", "loss"], "end"]


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "checkpoint", "class_weigth", "mix"])
def test_a_setting_that_a_closed_form_has_not_is_named(name, small_model, pictures):
    with pytest.raises(TypeError, match=rf"no epochs, rate or loss.*Received: {name}=3"):
        run(small_model(), *pictures, **{name: 3})


def headed(*layers, activation=None):
    x = keras.Input((16, 16, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(x))
    last = keras.layers.Dense(3, activation=activation, name="logits")
    return keras.Model(x, keras.Sequential([*layers, last], name="head")(features))


@pytest.mark.parametrize(
    "model",
    [
        lambda: headed(keras.layers.Dense(5, name="hidden")),
        lambda: headed(keras.layers.BatchNormalization()),
        lambda: headed(activation="sigmoid"),
    ],
)
def test_a_head_that_is_more_than_one_dense_is_refused(model, pictures):
    with pytest.raises(ValueError, match="one Dense layer with a bias"):
        run(model(), *pictures)


def test_probabilities_are_the_softmax_of_the_solution(pictures):
    model = headed(activation="softmax")
    history = run(model, *pictures)
    assert history.history["loss"][0] == pytest.approx(model.evaluate(*pictures, verbose=0)[0], rel=1e-3)


def test_what_cannot_be_learned_from_is_named(small_model, pictures):
    x, y = pictures
    for labels, message in (
        (y % 2, "class 2 has none"),
        (y + 1, "must be 0 to 2"),
        (y + 0.5, "must be 0 to 2"),
        (np.full((50, 3), 1 / 3), "one-hot rows with a column"),
        (np.eye(4)[y], "a column for each of 3"),
        (y.astype(str), "must be numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            run(small_model(), x, labels)
    for validation, message in (((x, y + 1), "of the validation data must be 0 to 2"),):
        with pytest.raises(ValueError, match=message):
            run(small_model(), x, y, validation_data=validation)
    with pytest.raises(ValueError, match=r"must be finite numbers.*Received: 1 of 50"):
        run(small_model(), np.where(np.arange(50)[:, None, None, None] == 7, np.nan, x), y)
    with pytest.raises(ValueError, match="'best' or 'last'"):
        run(small_model(), x, y, keep="first")
    with pytest.raises(ValueError, match="a number from 0 for each sample"):
        run(small_model(), x, y, sample_weight=-np.ones(50))


def test_labels_of_every_kind_are_integers():
    y = np.array([2, 0, 1])
    for given in (y, y[:, None], np.eye(3)[y], y.astype("float32"), np.eye(3, dtype=bool)[y]):
        np.testing.assert_array_equal(integer_labels(given, 3, "Labels"), y)


def test_log_softmax_does_not_overflow():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(log_softmax(logits), [[0, -1000], np.log([0.5, 0.5])])
