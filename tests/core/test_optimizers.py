"""A multiplier m moves a variable as m times the rate would: against NumPy, against two optimizers, and in fits."""

import functools
import inspect

import keras
import numpy as np
import pytest

from keras_transfer.core.optimizers import LayerwiseOptimizer

OPTIMIZERS = keras.optimizers
STEPS = 12
RATE = 0.01  # float32 gives the bias correction of Adam five digits
MULTIPLIERS = {"low": 0.1, "still": 0.0}
SHAPES = {"low/kernel": (4, 3), "low/bias": (3,), "still/kernel": (3, 3), "head/kernel": (3, 2)}
SCHEDULE = keras.optimizers.schedules.CosineDecay(0.0, STEPS, warmup_target=RATE, warmup_steps=4)


def multiplier(path):
    return MULTIPLIERS.get(path.split("/")[0], 1.0)


def variables(seed=0):
    random = np.random.default_rng(seed)
    made = []
    for path, shape in SHAPES.items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            made.append(keras.Variable(random.normal(size=shape).astype("float32"), name=name))
    return made


def gradients(seed=1):
    random = np.random.default_rng(seed)
    return [[random.normal(size=shape).astype("float32") for shape in SHAPES.values()] for _ in range(STEPS)]


def stepped(optimizer, moved, steps):
    for grads in steps:
        optimizer.apply([keras.ops.convert_to_tensor(grad) for grad in grads], moved)
    return [keras.ops.convert_to_numpy(one) for one in moved]


def clipped(grads, clip):
    kind, limit = clip
    if kind == "clipvalue":
        return [np.clip(grad, -limit, limit) for grad in grads]
    whole = np.sqrt(sum((grad**2).sum() for grad in grads))
    norms = [whole if kind == "global_clipnorm" else np.sqrt((grad**2).sum()) for grad in grads]
    return [grad * min(1.0, limit / norm) for grad, norm in zip(grads, norms, strict=True)] if kind else grads


def in_numpy(kind, rates, *, decay=0.0, clip=(None, 0), every=1, momentum=0.9, nesterov=False, ema=None):
    """SGD with momentum or Adam, float64, every variable at `multiplier * rate`; all variables clipped together."""
    weights = [keras.ops.convert_to_numpy(one).astype("float64") for one in variables()]
    scales = [multiplier(path) for path in SHAPES]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    averages, held, count = None, [], 0
    for step, grads in enumerate(gradients()):
        held.append([grad.astype("float64") for grad in grads])
        if len(held) == every:
            grads, held, count = (
                clipped([np.mean(some, axis=0) for some in zip(*held, strict=True)], clip),
                [],
                count + 1,
            )
            for i, (grad, scale) in enumerate(zip(grads, scales, strict=True)):
                rate = scale * rates[step]
                weights[i] = weights[i] - rate * decay * weights[i]
                if kind == "sgd":
                    first[i] = momentum * first[i] - rate * grad
                    weights[i] = weights[i] + (momentum * first[i] - rate * grad if nesterov else first[i])
                else:
                    first[i] = 0.9 * first[i] + 0.1 * grad
                    second[i] = 0.999 * second[i] + 0.001 * grad**2
                    corrected = np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
                    weights[i] = weights[i] - rate * corrected * first[i] / (np.sqrt(second[i]) + 1e-7)
        if ema is not None:
            averages = [*weights] if averages is None else averages
            averages = [ema * old + (1 - ema) * new for old, new in zip(averages, weights, strict=True)]
    return averages if ema is not None else weights


KINDS = {
    "sgd": (OPTIMIZERS.SGD, {}, {"momentum": 0.0}),
    "momentum": (OPTIMIZERS.SGD, {"momentum": 0.9, "weight_decay": 0.1}, {"decay": 0.1}),
    "nesterov": (OPTIMIZERS.SGD, {"momentum": 0.9, "nesterov": True}, {"nesterov": True}),
    "adam": (OPTIMIZERS.Adam, {}, {}),
    "adamw": (OPTIMIZERS.AdamW, {"weight_decay": 0.1}, {"decay": 0.1}),
}
SETTINGS = {
    "plain": ({}, {}),
    "clipnorm": ({"clipnorm": 0.5}, {"clip": ("clipnorm", 0.5)}),
    "global_clipnorm": ({"global_clipnorm": 0.5}, {"clip": ("global_clipnorm", 0.5)}),
    "clipvalue": ({"clipvalue": 0.5}, {"clip": ("clipvalue", 0.5)}),
    "accumulation": ({"gradient_accumulation_steps": 3}, {"every": 3}),
    "all": (
        {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5, "schedule": True},
        {"every": 2, "clip": ("global_clipnorm", 0.5), "schedule": True},
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_moves_as_numpy_says(kind, setting):
    make, mine, numpy_kind = KINDS[kind]
    more, numpy_more = ({**some} for some in SETTINGS[setting])
    scheduled = more.pop("schedule", False)
    numpy_more.pop("schedule", False)
    rates = [float(SCHEDULE(step)) for step in range(STEPS)] if scheduled else [RATE] * STEPS
    optimizer = LayerwiseOptimizer(make(SCHEDULE if scheduled else RATE, **mine, **more), MULTIPLIERS)
    got = stepped(optimizer, variables(), gradients())
    want = in_numpy("sgd" if make is OPTIMIZERS.SGD else "adam", rates, **numpy_kind, **numpy_more)
    for path, ours, theirs in zip(SHAPES, got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=path)
    still = list(SHAPES).index("still/kernel")
    np.testing.assert_array_equal(got[still], keras.ops.convert_to_numpy(variables()[still]))


@pytest.mark.parametrize("kind", ["momentum", "adamw"])
def test_the_moving_average_is_that_of_the_weights(kind):
    make, mine, numpy_kind = KINDS[kind]
    optimizer = LayerwiseOptimizer(make(RATE, use_ema=True, ema_momentum=0.8, **mine), MULTIPLIERS)
    moved = variables()
    stepped(optimizer, moved, gradients())
    optimizer.finalize_variable_values(moved)
    want = in_numpy("sgd" if make is OPTIMIZERS.SGD else "adam", [RATE] * STEPS, ema=0.8, **numpy_kind)
    for ours, theirs in zip(moved, want, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), theirs, rtol=0, atol=1e-6)


REFUSED = {"LossScaleOptimizer", "MultiOptimizer"}
NAMES = sorted(
    name
    for name, kind in vars(OPTIMIZERS).items()
    if inspect.isclass(kind) and issubclass(kind, OPTIMIZERS.Optimizer) and kind is not OPTIMIZERS.Optimizer
)


ALIKE = {"Adadelta", "Adagrad", "Adamax", "RMSprop"}  # slots like Adam's, and nothing else


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in sorted(set(NAMES) - REFUSED)]
)
def test_every_optimizer_of_keras_moves_as_one_of_each_rate_would(name):
    """The reference: an optimizer of the same class for each rate, stepped by hand."""
    make = getattr(OPTIMIZERS, name)
    got = stepped(LayerwiseOptimizer(make(0.05, weight_decay=0.1), MULTIPLIERS), variables(), gradients()[:6])
    alone = variables()
    for index, path in enumerate(SHAPES):
        if multiplier(path):
            one = make(0.05 * multiplier(path), weight_decay=0.1)
            stepped(one, [alone[index]], [[grads[index]] for grads in gradients()[:6]])
    for path, ours, theirs in zip(SHAPES, got, alone, strict=True):
        moved = np.abs(ours - keras.ops.convert_to_numpy(variables()[list(SHAPES).index(path)])).max()
        assert (moved > 1e-5) == (multiplier(path) > 0), path
        np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(theirs), rtol=0, atol=1e-6, err_msg=path)


def test_optimizers_that_do_more_than_a_variables_step_are_refused():
    class Careful(OPTIMIZERS.SGD):
        def _clip_gradients(self, grads):
            return grads

    holders = OPTIMIZERS.LossScaleOptimizer(OPTIMIZERS.Adam()), OPTIMIZERS.MultiOptimizer(lambda variable: None)
    for inner in (*holders, Careful(), LayerwiseOptimizer("sgd", {"low": 1.0})):
        with pytest.raises(ValueError, match=f"one inside.*Received: {type(inner).__name__}"):
            LayerwiseOptimizer(inner, MULTIPLIERS)


def test_multiplier_one_changes_no_bit():
    for name in ("AdamW", "Muon", "Nadam", "SGD"):
        make = getattr(OPTIMIZERS, name)
        plain = stepped(make(0.05, weight_decay=0.1, clipnorm=0.5), variables(), gradients()[:3])
        layerwise = LayerwiseOptimizer(make(0.05, weight_decay=0.1, clipnorm=0.5), {"low": 1.0})
        for ours, theirs in zip(stepped(layerwise, variables(), gradients()[:3]), plain, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_gradient_that_is_not_a_number_does_not_move_what_stands_still():
    moved = variables()
    optimizer = LayerwiseOptimizer("adamw", {"still": 0.0})
    stepped(optimizer, moved, [[np.full(shape, np.nan, "float32") for shape in SHAPES.values()]])
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(made[2]) for made in (moved, variables())))
    assert np.isnan(keras.ops.convert_to_numpy(moved[0])).all()


def network(seed=0, hidden=6):
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,))
    h = keras.layers.Dense(hidden, "tanh", name="low")(x)
    h = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(hidden, name="lower", use_bias=False)(h))
    return keras.Model(x, keras.layers.Dense(2, name="head")(h))


X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = X[:, :2] ** 2 - X[:, 2:]
FIT = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}


def values(model):
    return [keras.ops.convert_to_numpy(one) for one in model.weights]


def fitted(optimizer, *, policy="float32", jit=False, **settings):
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
        model.compile(optimizer, "mse", jit_compile=jit)
        model.fit(X, Y, **{**FIT, **settings})
    finally:
        keras.config.set_dtype_policy("float32")
    return model


def adamw(rate):
    return OPTIMIZERS.AdamW(rate, weight_decay=0.1)


@functools.cache
def one_optimizer_for_each_rate(policy):
    separate = OPTIMIZERS.OptimizerMap(adamw(0.02), {r"low/.*": adamw(0.002)})
    return values(fitted(OPTIMIZERS.MultiOptimizer(separate), policy=policy))


@pytest.mark.parametrize(
    ("policy", "jit"),
    [("float32", False), pytest.param("float32", True, marks=pytest.mark.slow), ("mixed_float16", False)],
)
def test_a_fit_equals_that_of_one_optimizer_for_each_rate(policy, jit):
    """Keras' MultiOptimizer is the reference; under mixed_float16 both are inside a LossScaleOptimizer."""
    got = fitted(LayerwiseOptimizer(adamw(0.02), {"low": 0.1}), policy=policy, jit=jit)
    assert isinstance(got.optimizer, OPTIMIZERS.LossScaleOptimizer) == (policy == "mixed_float16")
    for before, ours, theirs in zip(values(network()), values(got), one_optimizer_for_each_rate(policy), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 if policy == "float32" else 1e-5)
        assert np.abs(ours - before).max() > 1e-3


def test_sparse_gradients_are_scaled_too():
    def run(optimizer):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(9, 4, name="words"), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(2, name="head")])
        start = values(model)[0]
        model.compile(optimizer, "mse")
        model.fit(np.arange(24).reshape(8, 3) % 7, np.ones((8, 2)), epochs=1, batch_size=8, verbose=0)
        return values(model)[0] - start

    whole, tenth = run(OPTIMIZERS.SGD(0.5)), run(LayerwiseOptimizer(OPTIMIZERS.SGD(0.5), {"words": 0.1}))
    np.testing.assert_allclose(tenth, 0.1 * whole, atol=1e-7)
    assert np.abs(whole).max() > 1e-3


def test_callbacks_see_one_rate_that_changes_all():
    rates = {0: 0.5, 1: 0.05, 2: 0.0}
    moves = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = values(self.model)

        def on_epoch_end(self, epoch, logs=None):
            moves.append([np.abs(now - then).max() for now, then in zip(values(self.model), self.before, strict=True)])

    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rates[epoch])
    optimizer = LayerwiseOptimizer(OPTIMIZERS.Adam(1.0), {"low": 0.01})
    model = fitted(optimizer, callbacks=[schedule, Watch()], batch_size=24)
    assert moves[0][0] == pytest.approx(0.005, rel=1e-3)  # Adam's first step is the rate
    assert moves[0][-1] == pytest.approx(0.5, rel=1e-3)
    assert moves[1][0] < 0.2 * moves[0][0]
    assert max(moves[2][:2] + moves[2][-2:]) == 0.0
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    model.optimizer.learning_rate = 0.25
    history = model.fit(X, Y, callbacks=[plateau], **FIT)
    np.testing.assert_allclose(history.history["learning_rate"], [0.25, 0.25, 0.125])
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        LayerwiseOptimizer(OPTIMIZERS.SGD(SCHEDULE), {"low": 1.0}).learning_rate = 0.1


def test_a_schedule_set_later_reaches_adafactor_inside():
    """Adafactor asks whether its rate is a schedule."""
    inner = OPTIMIZERS.Adafactor(0.05)
    optimizer = LayerwiseOptimizer(inner, {"low": 1.0})
    optimizer.learning_rate = SCHEDULE
    plain = OPTIMIZERS.Adafactor(SCHEDULE)
    for ours, theirs in zip(*(stepped(one, variables(), gradients()[:3]) for one in (optimizer, plain)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_name_is_a_run_of_whole_segments():
    def rates(names, paths):
        made = []
        for path in paths:
            *scopes, name = path.split("/")
            with keras.name_scope(scopes[0]), keras.name_scope(scopes[-1] if len(scopes) > 1 else "/".join(scopes)):
                made.append(keras.Variable(np.zeros(2, "float32"), name=name))
        return [row.multiplier for row in LayerwiseOptimizer("sgd", names).resolve(made)]

    paths = ["a/low/kernel", "b/low/kernel", "a/lower/kernel", "c/head/bias"]
    assert rates({"low": 0.1}, paths) == [0.1, 0.1, 1, 1]
    assert rates({"a/low": 0.1}, paths) == [0.1, 1, 1, 1]
    assert rates({"low": 0.1, "b/low": 0.5, "a": 0.2, "bias": 3}, [*paths[1:], "a/x/bias"][:3]) == [0.5, 0.2, 3]
    with pytest.raises(ValueError, match=r"Two names match 'a/low/kernel'.*Received: 'a' and 'low'"):
        rates({"a": 0.1, "low": 0.2}, paths)
    for name, hint in {"lo": "'low'", "low/a": "Known|Did you mean", "": "Known", "haed": "'head'"}.items():
        with pytest.raises(ValueError, match=f"(?s){hint}.*Received: '{name}'"):
            rates({name: 0.1}, paths)


BAD = {
    "negative": {"low": -0.1},
    "nan": {"low": float("nan")},
    "inf": {"low": float("inf")},
    "text": {"low": "0.1"},
    "none": {"low": None},
    "bool": {"low": True},
    "empty": {},
    "number": 0.1,
    "class": {keras.layers.Dense: 0.1},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_multipliers_are_one_sentence(case):
    with pytest.raises(ValueError, match=r"\. Received: "):
        LayerwiseOptimizer("sgd", BAD[case])


def test_bad_optimizers_are_one_sentence():
    with pytest.raises(ValueError, match=r"'adam'.*Received: 'adan'"):
        LayerwiseOptimizer("adan", {"low": 1.0})
    with pytest.raises(TypeError, match="Received: None"):
        LayerwiseOptimizer(None, {"low": 1.0})
    for rate in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"above 0. Received: {rate}"):
            LayerwiseOptimizer(OPTIMIZERS.SGD(rate), {"low": 1.0})
    used, built, excluding = OPTIMIZERS.SGD(), OPTIMIZERS.SGD(), OPTIMIZERS.AdamW()
    stepped(used, variables(), gradients()[:2])
    built.build(variables())
    excluding.exclude_from_weight_decay(var_names=["bias"])
    inside = LayerwiseOptimizer("adam", {"low": 1.0})
    for inner, text in {used: "a built SGD", built: "a built SGD", inside.inner: "inside another"}.items():
        with pytest.raises(ValueError, match=f"Received: .*{text}"):
            LayerwiseOptimizer(inner, {"low": 1.0})
    for refused in (lambda: LayerwiseOptimizer(excluding, {"low": 1.0}), inside.exclude_from_weight_decay):
        with pytest.raises(ValueError, match=r"kt\.tuning\.no_decay"):
            refused()
