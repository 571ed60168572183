"""Unfreezing inside a running fit: the same numbers as by hand, what is frozen stays, and wrong plans are named."""

import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core.fitting import fit as cached_fit
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.rates import layerwise
from keras_transfer.tuning.progressive import ProgressiveUnfreezing

Adam, SGD = keras.optimizers.Adam, keras.optimizers.SGD


def by_numpy(weights, x, y, opens, rates, epochs, batch):
    """Adam on two linear layers by the formulas, one count of steps for all weights; `opens`: the epoch of each weight."""
    w = [np.array(one, "float64") for one in weights]
    m, v, t = [0 * one for one in w], [0 * one for one in w], 0
    rate = 0.0
    for epoch in range(epochs):
        rate = rates.get(epoch, rate)
        for at in range(0, len(x), batch):
            xb, yb = x[at : at + batch], y[at : at + batch]
            h = xb @ w[0] + w[1]
            d = 2 * (h @ w[2] + w[3] - yb) / yb.size
            g = [xb.T @ (d @ w[2].T), (d @ w[2].T).sum(0), h.T @ d, d.sum(0)]
            t += 1
            for i in range(4):
                if epoch >= opens[i]:
                    m[i] = 0.9 * m[i] + 0.1 * g[i]
                    v[i] = 0.999 * v[i] + 0.001 * g[i] ** 2
                    step = rate * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
                    w[i] = w[i] - step * m[i] / (v[i] ** 0.5 + 1e-7)
    return w, m, v, t


def check_by_numpy(unfreezing):
    """A fit with the callback against the formulas: weights, both moments, iterations."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, name="low"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)).astype("float32"), random.normal(size=(20, 2)).astype("float32")
    start = [np.array(one) for one in model.weights]
    model.get_layer("low").trainable = False
    model.compile(keras.optimizers.Adam(0.5), "mse")
    callback = unfreezing({2: "low"}, learning_rate={0: 2e-3, 2: 6e-4})
    model.fit(x, y, batch_size=5, epochs=4, shuffle=False, verbose=0, callbacks=[callback])
    w, m, v, t = by_numpy(start, x, y, (2, 2, 0, 0), {0: 2e-3, 2: 6e-4}, epochs=4, batch=5)
    moments = [one for pair in zip(m, v, strict=True) for one in pair]
    made = [np.array(one) for one in (*model.weights, *model.optimizer.variables[2:])]
    assert int(np.array(model.optimizer.iterations)) == t == 16
    assert len(made) == 12
    for one, other in zip(made, [*w, *moments], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_fit_is_adam_by_the_formulas():
    check_by_numpy(ProgressiveUnfreezing)


def build(policy="float32", seed=0):
    """Three Dense layers, of which the head trains."""
    keras.utils.set_random_seed(seed)
    layer = keras.layers.Dense
    keras.config.set_dtype_policy(policy)
    try:
        low, mid = layer(5, activation="tanh", name="low"), layer(4, activation="tanh", name="mid")
        model = keras.Sequential([keras.Input((3,)), low, mid, layer(2, name="head", dtype="float32")])
    finally:
        keras.config.set_dtype_policy("float32")
    low.trainable = mid.trainable = False
    return model


def data(count=24):
    random = np.random.default_rng(1)
    return random.normal(size=(count, 3)).astype("float32"), random.normal(size=(count, 2)).astype("float32")


def train(model, optimizer, plan, epochs=4, callbacks=(), steps_per_execution=1, jit=False, **settings):
    model.compile(optimizer, "mse", steps_per_execution=steps_per_execution, jit_compile=jit)
    callbacks = [ProgressiveUnfreezing(plan, **settings), *callbacks]
    return model.fit(*data(), batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def step_over(model, optimizer, variables, jit):
    @tf.function(jit_compile=jit)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(keras.losses.MeanSquaredError()(y, model(x, training=True)))
        optimizer.apply(tape.gradient(loss, variables), variables)

    return step


def by_hand(model, optimizer, plan, epochs=4, jit=False):
    """The same in a loop of our own: one optimizer over all variables, another step function at each change."""
    x, y = data()
    everything = model.variables
    optimizer.build(everything)
    for epoch in range(epochs):
        if epoch in plan:
            model.get_layer(plan[epoch]).trainable = True
        if epoch in plan or epoch == 0:
            step = step_over(model, optimizer, model.trainable_variables, jit)
        for at in range(0, len(x), 4):
            step(tf.constant(x[at : at + 4]), tf.constant(y[at : at + 4]))
    optimizer.finalize_variable_values(everything)


def state(model, optimizer):
    return [np.array(one, "float32") for one in (*model.weights, *optimizer.variables)]


CASES = {
    "plain": {},
    "momentum and clipping by the norm of all": {"of": lambda: SGD(0.1, momentum=0.9, global_clipnorm=0.1)},
    "weight decay": {"of": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.5)},
    "moving average": {"of": lambda: Adam(0.01, use_ema=True, ema_momentum=0.9)},
    "moving average put back": {"of": lambda: Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=4)},
    "accumulation over an epoch's end": {"of": lambda: Adam(0.01, gradient_accumulation_steps=4)},
    "several steps in one execution": {"steps_per_execution": 3},
    "compiled": {"jit": True},
    "bfloat16": {"policy": "mixed_bfloat16"},
    "float16": {"policy": "mixed_float16"},
}


FAST = {
    "momentum and clipping by the norm of all",
    "accumulation over an epoch's end",
    "moving average put back",
    "float16",
}


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case not in FAST)) for case in CASES])
def test_a_fit_equals_the_same_by_hand(case):
    """Weights, moments, accumulators, averages and iterations; in the three stages low, mid and head begin to train."""
    settings = dict(CASES[case])
    of, policy = settings.pop("of", lambda: Adam(0.01)), settings.pop("policy", "float32")
    plan = {1: "mid", 3: "low"}
    model, twin = build(policy), build(policy)
    train(model, of(), plan, **settings)
    optimizer = of()
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    by_hand(twin, optimizer, plan, jit=settings.get("jit", False))
    assert len(model.trainable_variables) == 6
    mine, other = state(model, model.optimizer), state(twin, optimizer)
    assert len(mine) == len(other) > 8
    for one, two in zip(mine, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


class Watch(keras.callbacks.Callback):
    """What each layer's kernel and its optimizer variables are at the end of every epoch."""

    def on_train_begin(self, logs=None):
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        kernels = {layer.name: np.array(layer.kernel) for layer in self.model.layers}
        slots = {one.path: np.array(one) for one in self.model.optimizer.variables}
        self.epochs.append((kernels, slots))


@pytest.mark.parametrize("swap", [False, True])
def test_what_is_frozen_stays_bit_for_bit_until_its_epoch(swap):
    """Decay, moving averages put back and weights swapped for validation touch nothing that is frozen."""
    model, watch = build(), Watch()
    before = {layer.name: np.array(layer.kernel) for layer in model.layers}
    optimizer = keras.optimizers.AdamW(
        0.01, weight_decay=0.1, use_ema=True, ema_momentum=0.37, ema_overwrite_frequency=None if swap else 2
    )
    others = [watch, keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if swap else [watch]
    train(model, optimizer, {1: "mid", 3: "low"}, callbacks=others)
    for epoch, (kernels, slots) in enumerate(watch.epochs):
        for name, opens in {"head": 0, "mid": 1, "low": 3}.items():
            moments = [
                slot for path, slot in slots.items() if name in path and "kernel" in path and "average" not in path
            ]
            assert len(moments) == 2
            assert np.array_equal(kernels[name], before[name]) == (epoch < opens)
            assert all(slot.any() == (epoch >= opens) for slot in moments)


def test_a_fit_that_ends_before_the_plan_does_keeps_what_is_frozen_under_a_moving_average():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = build()
    low = np.array(model.get_layer("low").kernel)
    train(model, Adam(0.01, use_ema=True), {1: "mid", 3: "low"}, callbacks=[Stop()])
    assert np.array_equal(low, model.get_layer("low").kernel)
    assert len(model.trainable_variables) == 4
    model.fit(*data(), epochs=1, verbose=0)  # and goes on, with the callback or without it
    train_again = ProgressiveUnfreezing({0: "low"})
    model.fit(*data(), batch_size=4, epochs=1, verbose=0, callbacks=[train_again])
    assert not np.array_equal(low, model.get_layer("low").kernel)
    assert int(model.optimizer.iterations) == 12 + 1 + 6


def test_a_clipping_norm_is_that_of_what_trains():
    """One step of SGD whose gradients are clipped to a norm of 1e-3 in all: the head alone takes the whole of it."""
    model = build()
    start = [np.array(one) for one in model.weights]
    model.compile(SGD(1.0, global_clipnorm=1e-3), "mse")
    model.fit(*data(), batch_size=24, epochs=1, verbose=0, callbacks=[ProgressiveUnfreezing({0: "head"})])
    moved = [float(np.sum((np.array(a) - b) ** 2)) for a, b in zip(model.weights, start, strict=True)]
    assert moved[:4] == [0, 0, 0, 0]
    assert math.sqrt(sum(moved)) == pytest.approx(1e-3, rel=1e-3)


def check_frozen(unfreezing, optimizer):
    """Which layers of a nested backbone move in which epoch: a BatchNorm that came frozen never does."""
    layers, moved = keras.layers, []

    class Moved(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = [np.array(one) for one in self.model.weights]

        def on_epoch_end(self, epoch, logs=None):
            pairs = zip(self.model.weights, self.before, strict=True)
            moved.append([one.path.split("/")[-2] for one, old in pairs if not np.array_equal(np.array(one), old)])

    keras.utils.set_random_seed(0)
    x = inside = keras.Input((3,))
    for name, width in (("low", 5), ("mid", 4)):
        x = layers.Dropout(0.1)(layers.BatchNormalization(name=f"norm_{name}")(layers.Dense(width, name=name)(x)))
    pixels = keras.Input((3,))
    model = keras.Model(pixels, layers.Dense(2, name="head")(keras.Model(inside, x, name="backbone")(pixels)))
    model.get_layer("backbone").trainable = False
    model.compile(optimizer, "mse")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(24, 3)).astype("float32"), random.normal(size=(24, 2)).astype("float32")
    callback = unfreezing({1: "backbone/mid", 3: "backbone"})
    model.fit(x, y, batch_size=4, epochs=4, verbose=0, validation_data=(x, y), callbacks=[callback, Moved()])
    assert moved == [
        ["head"] * 2,
        ["mid"] * 2 + ["head"] * 2,
        ["mid"] * 2 + ["head"] * 2,
        ["low"] * 2 + ["mid"] * 2 + ["head"] * 2,
    ]


def test_a_block_of_a_nested_backbone():
    check_frozen(
        ProgressiveUnfreezing, keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2)
    )


def batch_norm_model():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(5, name="low"), norm, layers.Dense(2, name="head")])
    return unfreeze(freeze(model), "head")


@pytest.mark.parametrize("batch_norm", ["freeze", "train"])
def test_a_frozen_batch_norm_stays_frozen_unless_asked(batch_norm):
    model = batch_norm_model()
    norm = model.get_layer("norm")
    low, before = np.array(model.get_layer("low").kernel), [np.array(one) for one in norm.weights]
    train(model, Adam(0.01), {1: ["low", "norm"]}, batch_norm=batch_norm)
    assert [np.array_equal(a, b) for a, b in zip(before, norm.weights, strict=True)] == [batch_norm == "freeze"] * 4
    assert not np.array_equal(low, model.get_layer("low").kernel)


@pytest.mark.slow
def test_a_resumed_fit_starts_with_what_the_plan_did_before(tmp_path):
    """Two fits, and one that is saved and loaded between, equal one: plan, rate, moments and order of the variables."""
    plan, rates = {1: "mid", 2: "low"}, {0: 0.02, 2: 0.005}
    whole, parts = build(), build()
    train(whole, Adam(0.5), plan, epochs=4, learning_rate=rates)
    train(parts, Adam(0.5), plan, epochs=3, learning_rate=rates)
    parts.save(tmp_path / "parts.keras")
    loaded = keras.models.load_model(tmp_path / "parts.keras")
    for model in (parts, loaded):
        freeze(model, ["low", "mid"])
        model.optimizer.learning_rate = 0.5
        callback = ProgressiveUnfreezing(plan, learning_rate=rates)
        model.fit(*data(), batch_size=4, initial_epoch=3, epochs=4, shuffle=False, verbose=0, callbacks=[callback])
        assert float(model.optimizer.learning_rate) == pytest.approx(0.005)
        for one, other in zip(state(model, model.optimizer), state(whole, whole.optimizer), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_backup_and_restore_goes_on_where_it_was(tmp_path):
    class Die(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    plan = {1: "mid", 2: "low"}
    whole, broken, again = build(), build(), build()
    train(whole, Adam(0.01), plan)
    with pytest.raises(KeyboardInterrupt):
        train(broken, Adam(0.01), plan, callbacks=[keras.callbacks.BackupAndRestore(tmp_path), Die()])
    train(again, Adam(0.01), plan, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
    for one, other in zip(state(again, again.optimizer), state(whole, whole.optimizer), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_validation_sees_the_penalty_of_what_trains_now():
    """Keras sums the penalties of what trains: a stale test function would miss that of the layer unfrozen last."""
    layers = keras.layers
    low = layers.Dense(5, kernel_regularizer=keras.regularizers.L2(10.0), trainable=False, name="low")
    model = keras.Sequential([keras.Input((3,)), low, layers.Dense(2, name="head")])
    model.compile(SGD(1e-9), "mse")
    callback = ProgressiveUnfreezing({1: "low"})
    history = model.fit(*data(), epochs=2, verbose=0, validation_data=data(), callbacks=[callback]).history
    penalty = 10 * float(np.sum(np.square(low.kernel)))
    assert history["val_loss"][1] - history["val_loss"][0] == pytest.approx(penalty, rel=1e-3)


def check_kernel(unfreezing):
    """A kernel that is frozen by itself, under LoRA, in a layer that trains: setting the layer's flag would free it."""
    low, head = keras.layers.Dense(4, trainable=False, name="low"), keras.layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input((3,)), low, head])
    head.enable_lora(2)
    before = [np.array(one) for one in (head._kernel, head.lora_kernel_b, low.kernel)]
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[unfreezing({1: "low"})])
    after = [np.array(one) for one in (head._kernel, head.lora_kernel_b, low.kernel)]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_a_kernel_frozen_by_itself_stays_so():
    check_kernel(ProgressiveUnfreezing)


@pytest.mark.slow
def test_it_helps():
    """The target is a product, which the head alone cannot make of random features: unfreezing ends far below."""
    x = np.random.default_rng(1).normal(size=(64, 3)).astype("float32")
    y = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)
    ended = []
    for plan in ({0: "head"}, {1: "mid", 2: "low"}):
        model = build()
        model.compile(Adam(0.05), "mse")
        callbacks = [ProgressiveUnfreezing(plan)]
        ended.append(
            model.fit(x, y, batch_size=8, epochs=10, shuffle=False, verbose=0, callbacks=callbacks).history["loss"][-1]
        )
    assert ended[1] < 0.7 * ended[0]


@pytest.mark.parametrize(
    ("plan", "settings", "message"),
    [
        ({}, {}, "at least one epoch"),
        ([1], {}, "must be a dict by epoch"),
        ({-1: "low"}, {}, "whole number from 0. Received: -1"),
        ({1.5: "low"}, {}, "whole number from 0. Received: 1.5"),
        ({True: "low"}, {}, "whole number from 0. Received: True"),
        ({1: "low"}, {"learning_rate": 0.1}, "must be a dict by epoch"),
        ({1: "low"}, {"learning_rate": {-2: 0.1}}, "whole number from 0. Received: -2"),
        ({1: "low"}, {"learning_rate": {1: 0.0}}, "above 0. Received: 0.0"),
        ({1: "low"}, {"learning_rate": {1: float("nan")}}, "above 0. Received: nan"),
        ({1: "low"}, {"learning_rate": {1: "fast"}}, "above 0. Received: 'fast'"),
        ({1: "low"}, {"batch_norm": "reestimate"}, "'freeze' or 'train'"),
        ({1: "loww"}, {}, "Did you mean 'low'"),
        ({4: "low"}, {}, "epochs are 0 to 3; .* Received: epoch 4"),
        ({1: "low"}, {"learning_rate": {9: 0.1}}, "Received: epoch 9"),
    ],
)
def test_a_wrong_plan_is_named_before_the_first_step(plan, settings, message):
    model = build()
    before = state(model, model.layers[0])
    with pytest.raises((ValueError, TypeError), match=message):
        train(model, Adam(0.01), plan, **settings)
    assert all(np.array_equal(a, b) for a, b in zip(before, state(model, model.layers[0]), strict=True))


def test_a_plan_that_can_unfreeze_nothing_is_named():
    with pytest.raises(ValueError, match="only with batch_norm='train'"):
        train(batch_norm_model(), Adam(0.01), {1: "norm"})


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: Adam(keras.optimizers.schedules.CosineDecay(0.1, 10)),
        lambda: keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(Adam(0.1))),
    ],
)
def test_rates_by_epoch_need_one_plain_rate(optimizer):
    with pytest.raises(ValueError, match="one plain rate"):
        train(build(), optimizer(), {1: "low"}, learning_rate={1: 0.1})


@pytest.mark.parametrize("names", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_block_has_its_own_rate_from_the_moment_it_is_unfrozen(names):
    """SGD at 0.1 with low at a tenth of it is, weight by weight, the step by hand at 0.01; the head keeps 0.1."""
    model, twin = build(), build()
    rate = LayerwiseOptimizer(SGD(0.5), {"low": 0.1}) if names else layerwise(SGD(0.5), model, {"low": 0.1})
    train(model, rate, {2: "low"}, learning_rate={0: 0.1})
    x, y = data()
    for epoch in range(4):
        low, head = twin.get_layer("low").weights, twin.get_layer("head").weights
        for at in range(0, len(x), 4):
            with tf.GradientTape() as tape:
                tape.watch([one.value for one in low])
                loss = tf.reduce_mean((twin(x[at : at + 4]) - y[at : at + 4]) ** 2)
            gradients = tape.gradient(loss, [one.value for one in (*low, *head)])
            for variable, gradient, step in zip((*low, *head), gradients, (0.01, 0.01, 0.1, 0.1), strict=True):
                if step == 0.1 or epoch >= 2:
                    variable.assign_sub(step * gradient)
    for one, other in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_several_optimizers_in_one():
    kinds = keras.optimizers
    model = build()
    before = state(model, model.layers[0])
    train(model, kinds.MultiOptimizer(kinds.OptimizerMap(Adam(0.01), {".*head.*": SGD(0.1)})), {1: "mid"})
    moved = [not np.array_equal(a, b) for a, b in zip(before[:6], model.weights, strict=True)]
    assert moved == [False, False, True, True, True, True]


def test_an_optimizer_that_has_stepped_without_these_variables_is_refused():
    model = build()
    model.compile(Adam(0.01), "mse")
    model.fit(*data(), verbose=0)
    with pytest.raises(ValueError, match=r"compile the model again.* 1 step\(s\) without '.*low/kernel' and 1 more"):
        model.fit(*data(), epochs=2, verbose=0, callbacks=[ProgressiveUnfreezing({1: "low"})])


def test_a_cached_fit_says_what_to_use():
    x, y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.arange(20) % 2
    losses = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = build()
    model.compile("adam", losses)
    model.fit(x, y, verbose=0)  # a train function of its own is no excuse
    callbacks = [ProgressiveUnfreezing({1: "low"})]
    with pytest.raises(ValueError, match=r"use kt\.tuning\.fit_stages"):
        cached_fit(model, x, y, optimizer=Adam(0.01), loss=losses, epochs=3, callbacks=callbacks, verbose=0)


ON_JAX = """
import keras
import numpy as np
from keras_transfer.tuning.progressive import ProgressiveUnfreezing

{functions}
AdamW = keras.optimizers.AdamW
check_by_numpy(ProgressiveUnfreezing)
check_kernel(ProgressiveUnfreezing)
check_frozen(ProgressiveUnfreezing, AdamW(0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2))
check_frozen(ProgressiveUnfreezing, AdamW(0.01, weight_decay=0.1, gradient_accumulation_steps=4))
"""


@pytest.mark.slow
def test_on_jax(on_jax):
    """There `fit` hands the state over in tuples, which must be those of what trains; decay and averages as above."""
    functions = "\n\n".join(inspect.getsource(one) for one in (by_numpy, check_by_numpy, check_frozen, check_kernel))
    assert on_jax(ON_JAX.format(functions=functions)) == "done on JAX"


@pytest.mark.parametrize("plan", [{0: "mid"}, {1: "mid", 2: "low"}])
def test_a_plan_with_nothing_to_unfreeze_says_so(plan):
    model = build()
    unfreeze(model)
    model.compile(Adam(1e-3), "mse")
    x, y = np.zeros((6, 3)), np.zeros((6, 2))
    with pytest.raises(ValueError, match="must find something frozen"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[ProgressiveUnfreezing(plan)])


def test_a_plan_that_was_done_before_a_resumed_fit_needs_nothing_frozen():
    model = build()
    model.compile(Adam(1e-3), "mse")
    x, y = np.zeros((6, 3)), np.zeros((6, 2))
    unfreezing = ProgressiveUnfreezing({1: "mid"})
    model.fit(x, y, epochs=2, verbose=0, callbacks=[unfreezing])
    model.fit(x, y, epochs=4, initial_epoch=2, verbose=0, callbacks=[unfreezing])
    assert model.get_layer("mid").trainable
