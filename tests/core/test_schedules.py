"""Schedules: the papers' formulas at every step, what a fit really applies, files, and wrong input."""

import functools
import math

import keras
import numpy as np
import pytest

from keras_transfer.core.rate_schedule import RateSchedule
from keras_transfer.core.registry import get, registered
from keras_transfer.core.schedules import (
    OneCycle,
    SlantedTriangular,
    WarmupCosine,
    WarmupLinear,
    plot_schedule,
    scheduled,
)

KINDS = [WarmupLinear, WarmupCosine, SlantedTriangular, OneCycle]


def linear(t, n, peak, share, end):
    w = math.floor(share * n)
    return peak * t / w if t < w else peak + (end - peak) * (t - w) / (n - w)


def sgdr(t, n, peak, share, end):
    w = math.floor(share * n)
    return peak * t / w if t < w else end + 0.5 * (peak - end) * (1 + math.cos(math.pi * (t - w) / (n - w)))


def ulmfit(t, n, peak, cut_frac, ratio):
    cut = math.floor(n * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return peak * (1 + p * (ratio - 1)) / ratio


def fastai(t, n, peak, share, div, div_final):
    def between(a, b, s):
        return a + (1 + math.cos(math.pi * (1 - s))) * (b - a) / 2

    w = n * share
    return between(peak / div, peak, t / w) if t < w else between(peak, peak / div_final, (t - w) / (n - w))


CASES = [
    (WarmupLinear(5e-5, 40), linear, (0.1, 0.0)),
    (WarmupLinear(0.3, 37, warmup=0.3, end=0.1), linear, (0.3, 0.1)),
    (WarmupLinear(0.3, 7, warmup=0), linear, (0.0, 0.0)),
    (WarmupCosine(1e-3, 50, warmup=0.2, end=1e-5), sgdr, (0.2, 1e-5)),
    (WarmupCosine(1e-3, 1), sgdr, (0.1, 0.0)),
    (SlantedTriangular(0.01, 60), ulmfit, (0.1, 32)),
    (SlantedTriangular(0.01, 20, warmup=0.25, ratio=8), ulmfit, (0.25, 8)),
    (OneCycle(1e-3, 40), fastai, (0.25, 25, 1e5)),
    (OneCycle(2.0, 8, warmup=0.5, div=10, div_final=100), fastai, (0.5, 10, 100)),
]


@pytest.mark.parametrize(("schedule", "formula", "settings"), CASES)
def test_every_step_has_the_rate_of_the_formula(schedule, formula, settings):
    steps = schedule.length
    got = np.array([schedule(t) for t in range(steps + 1)])
    np.testing.assert_allclose(
        got,
        [formula(t, steps, schedule.peak, *settings) for t in range(steps + 1)],
        rtol=2e-5,
        atol=2e-7 * schedule.peak,
    )
    assert float(schedule(10 * steps)) == float(schedule(steps))  # beyond the last step it stays
    np.testing.assert_array_equal([float(schedule(np.int64(t))) for t in range(steps + 1)], got)


def test_the_triangle_is_held_where_the_paper_would_go_below_its_foot():
    schedule = SlantedTriangular(1.0, 19)  # cut = 1: the fall takes 9 steps, 9 are left over
    got = np.array([schedule(t) for t in range(20)])
    np.testing.assert_allclose(got[:11], [ulmfit(t, 19, 1.0, 0.1, 32) for t in range(11)], rtol=1e-5)
    assert ulmfit(18, 19, 1.0, 0.1, 32) < 0
    np.testing.assert_allclose(got[10:], 1 / 32, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [10, 17, 200])
def test_it_rises_to_the_peak_and_falls_to_the_end(kind, steps):
    schedule = kind(0.5, steps, warmup=0.3)
    rates = np.array([schedule(t) for t in range(steps + 1)])
    top = schedule.rising
    start = {WarmupLinear: 0, WarmupCosine: 0, SlantedTriangular: 0.5 / 32, OneCycle: 0.5 / 25}[kind]
    end = {WarmupLinear: 0, WarmupCosine: 0, SlantedTriangular: 0.5 / 32, OneCycle: 0.5e-5}[kind]
    np.testing.assert_allclose(rates[[0, top, steps]], [start, 0.5, end], rtol=1e-6, atol=1e-9)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert (np.diff(rates[top:])[: 2 * top] < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_accumulation_are_lengths_in_optimizer_steps(kind):
    plain = kind(1.0, 20)
    rates = [float(plain(t)) for t in range(21)]
    for same in (kind(1.0, epochs=5, steps_per_epoch=4), kind(1.0, epochs=5, steps_per_epoch=4, accumulation=1)):
        assert [float(same(t)) for t in range(21)] == rates
    # 20 optimizer steps of 3 batches; 61 or 62 batches hold no 21st step
    for same in (kind(1.0, 20, accumulation=3), kind(1.0, epochs=2, steps_per_epoch=31, accumulation=3)):
        assert same.length == 20
        assert [float(same(batch)) for batch in range(63)] == [rate for rate in rates for _ in range(3)]


def applied(learning_rate, accumulation=None, batches=12, epochs=2, **compiled):
    """The rates that a real fit applies: the gradient is -1, so the weight grows by the rate; one row a batch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    optimizer = keras.optimizers.SGD(learning_rate, gradient_accumulation_steps=accumulation)
    model.compile(optimizer, loss=lambda y, p: -p, **compiled)
    weights, rates = [0.0], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append(float(np.array(self.model.layers[0].kernel).item()))
            rates.append(float(self.model.optimizer.learning_rate))

    x = np.ones((batches // epochs, 1), "float32")
    model.fit(x, x, batch_size=1, epochs=epochs, callbacks=[Look()], verbose=0)
    return np.diff(weights), rates, model


def test_a_fit_applies_the_rate_of_every_step():
    moved, rates, _ = applied(OneCycle(0.5, epochs=2, steps_per_epoch=6))
    np.testing.assert_allclose(moved, [fastai(t, 12, 0.5, 0.25, 25, 1e5) for t in range(12)], rtol=1e-3, atol=1e-6)
    assert rates[-1] == pytest.approx(0.5e-5)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_with_accumulation_the_optimizer_steps_have_the_rates_of_a_run_without(jit_compile):
    schedule = OneCycle(0.5, epochs=2, steps_per_epoch=12, accumulation=2)
    moved, rates, _ = applied(schedule, accumulation=2, batches=24, jit_compile=jit_compile)
    assert (moved[::2] == 0).all()
    np.testing.assert_allclose(
        moved[1::2], [fastai(t, 12, 0.5, 0.25, 25, 1e5) for t in range(12)], rtol=1e-3, atol=1e-6
    )
    assert rates[-1] == pytest.approx(0.5e-5)  # after the last batch the schedule is at its end
    unaware = OneCycle(0.5, epochs=2, steps_per_epoch=6)
    moved, rates, _ = applied(unaware, accumulation=2, batches=24)
    assert rates[11] == pytest.approx(0.5e-5)  # counted in optimizer steps it would have ended half way


@pytest.mark.parametrize("name", ["warmup_linear", "warmup_cosine", "slanted_triangular", "one_cycle"])
def test_a_file_keeps_the_schedule_and_goes_on_with_it(name, tmp_path):
    schedule = get("schedule", name)(0.5, epochs=2, steps_per_epoch=12, accumulation=2, warmup=0.2)
    _, _, model = applied(schedule, accumulation=2, batches=12, epochs=1)
    model.compile(model.optimizer, loss="mse")  # a lambda cannot be saved
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").optimizer
    kept = keras.saving.serialize_keras_object(schedule)
    assert kept["registered_name"] == f"keras_transfer>{type(schedule).__name__}"
    assert keras.saving.serialize_keras_object(keras.saving.deserialize_keras_object(kept)) == kept
    assert again.get_config() == model.optimizer.get_config()
    assert (kept["config"]["epochs"], kept["config"]["steps"]) == (2, None)  # as it was given
    assert float(again.learning_rate) == float(model.optimizer.learning_rate) == float(schedule(12))


def test_scheduled_makes_them_by_name():
    length = {"epochs": 5, "steps_per_epoch": 4, "accumulation": 2}
    for name, kind in zip(["warmup_linear", "warmup_cosine", "slanted_triangular", "one_cycle"], KINDS, strict=True):
        made = scheduled(name, 0.1, **length)
        assert type(made) is kind is registered("schedule")[name]
        assert (made.peak, made.length, made.accumulation) == (0.1, 10, 2)
    assert scheduled("constant", 0.1, **length) == 0.1
    made = scheduled("cosine", 0.1, **length)
    assert [round(float(made(batch)), 6) for batch in (0, 1, 10, 20)] == [0.1, 0.1, 0.05, 0.0]
    made = scheduled(functools.partial(WarmupLinear, warmup=0.5), 0.1, **length)
    assert made.rising == 5
    own = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert scheduled(own, 0.5, **length) is own
    with pytest.raises(ValueError, match=r"Unknown schedule. Did you mean 'one_cycle'\? Received: 'onecycle'"):
        scheduled("onecycle", 0.1, **length)
    with pytest.raises(TypeError, match="a name, a schedule, or a class"):
        scheduled(3, 0.1, **length)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peak", [-1e-3, 0, float("nan"), float("inf"), "0.1", None, True])
def test_a_peak_that_is_no_rate_is_refused(kind, peak):
    with pytest.raises(ValueError, match=r"`peak` must be a number above 0\. Received: "):
        kind(peak, 100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("length", "message"),
    [
        ({}, "`steps`, or `epochs`"),
        ({"steps": 10, "epochs": 2, "steps_per_epoch": 5}, "`steps`, or `epochs`"),
        ({"steps": 10, "steps_per_epoch": 5}, "goes with `epochs`"),
        ({"epochs": 10}, "goes with `epochs`"),
        ({"steps": 0}, "`steps` must be a whole number of at least 1"),
        ({"steps": -3}, "at least 1"),
        ({"steps": 10.5}, "whole number"),
        ({"epochs": 0, "steps_per_epoch": 5}, "`epochs` must be"),
        ({"epochs": 3, "steps_per_epoch": 0}, "`steps_per_epoch` must be"),
        ({"steps": 10, "accumulation": 0}, "`accumulation` must be"),
        ({"epochs": 1, "steps_per_epoch": 3, "accumulation": 4}, r"must hold one optimizer step.*Received: 3 batches"),
        ({"steps": 10, "warmup": 1.0}, "`warmup` must be a number at least 0, below 1. Received: 1.0"),
        ({"steps": 100, "warmup": 10}, "`warmup`"),
        ({"steps": 10, "warmup": -0.1}, "`warmup`"),
        ({"steps": 10, "warmup": float("nan")}, "`warmup`"),
    ],
)
def test_a_length_that_is_none_is_refused(kind, length, message):
    with pytest.raises(ValueError, match=message):
        kind(0.1, **length)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmupLinear(0.1, 10, end=0.2), "`end` must be a number at least 0, at most 0.1. Received: 0.2"),
        (lambda: WarmupCosine(0.1, 10, end=-0.2), "`end` must be"),
        (lambda: SlantedTriangular(0.1, 10, ratio=0.5), "`ratio` must be a number at least 1"),
        (lambda: SlantedTriangular(0.1, 9), "a step to rise in.*Received: 9 steps, warmup=0.1"),
        (lambda: OneCycle(0.1, 10, div=0), "`div` must be"),
        (lambda: OneCycle(0.1, 10, div_final=float("nan")), "`div_final` must be"),
        (lambda: plot_schedule(keras.optimizers.schedules.CosineDecay(0.1, 10)), "pass `batches`"),
    ],
)
def test_what_is_not_possible_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_picture_shows_every_batch():
    line = plot_schedule(WarmupLinear(1.0, 10, accumulation=2)).axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata()[[0, 1, 2, 3, 20]], [0, 0, 1, 1, 0])
    assert isinstance(WarmupLinear(1.0, 10), RateSchedule)


JAX = """
import numpy as np
import keras
from keras_transfer.core.schedules import OneCycle, WarmupLinear, SlantedTriangular, WarmupCosine

x = np.ones((24, 1), "float32")
for kind in (WarmupLinear, WarmupCosine, SlantedTriangular, OneCycle):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    schedule = kind(0.5, epochs=2, steps_per_epoch=24, accumulation=2)
    model.compile(keras.optimizers.SGD(schedule, gradient_accumulation_steps=2), loss=lambda y, p: -p)
    model.fit(x, x, batch_size=1, epochs=2, verbose=0)
    total = sum(float(schedule(2 * step)) for step in range(24))
    assert np.isclose(np.array(model.layers[0].kernel).item(), total, rtol=1e-5), kind
    assert float(model.optimizer.learning_rate) == float(schedule(48)) < 0.02
"""


@pytest.mark.slow
def test_schedules_run_on_jax(on_jax):
    assert on_jax(JAX) == "done on JAX"


TWO = """
from keras_transfer.core.schedules import OneCycle

schedule = OneCycle(0.5, epochs=2, steps_per_epoch=6)
with tf.distribute.MirroredStrategy().scope():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(schedule), loss=lambda y, p: -p)
assert model.distribute_strategy.num_replicas_in_sync == 2
x = np.ones((24, 1), "float32")
model.fit(x, x, batch_size=4, epochs=2, verbose=0)
assert keras.ops.convert_to_numpy(model.optimizer.iterations) == 12
print(np.array(model.layers[0].kernel).item() / sum(float(schedule(step)) for step in range(12)))
"""


@pytest.mark.distributed
def test_two_devices_take_the_steps_of_one(two_devices):
    assert float(two_devices(TWO)) == pytest.approx(1.0, rel=1e-5)
