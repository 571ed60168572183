"""Several adapters on one base: switched after tracing, each with its head, disabled, ejected."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.saving import load, save
from keras_transfer.tuning import tune

LABELS = np.array([0, 1, 2, 0])


@pytest.fixture(scope="module")
def two(tiny):
    """A model whose `predict` was traced before any switching; what the base and each adapter answer."""
    base = tiny.dense()
    start = tiny.numbers(base)
    plain = base.predict(tiny.PIXELS, verbose=0)
    model = peft.inject(base, "lora", "first", rank=2, name="a")
    answers = {"": plain}
    for name in ("a", "b"):
        if name == "b":
            peft.activate(peft.add_adapter(model, "b", rank=3, alpha=5), "b")
        np.testing.assert_allclose(model.predict(tiny.PIXELS, verbose=0), plain, atol=1e-5)  # its head's values, too
        tiny.learn(model, seed=ord(name))
        answers[name] = model.predict(tiny.PIXELS, verbose=0)
    return model, answers, start


def test_they_differ_and_switch_after_predict_was_traced(two, tiny):
    model, answers, _ = two
    assert np.abs(answers["a"] - answers["b"]).max() > 1e-2
    traced = model.predict_function
    for name in ("a", "b", "a"):
        assert peft.activate(model, name) is model
        assert peft.active(model) == [name]
        np.testing.assert_array_equal(model.predict(tiny.PIXELS, verbose=0), answers[name])
    assert model.predict_function is traced


def test_disabled_is_the_base_and_comes_back(two, tiny):
    model, answers, _ = two
    peft.activate(model, "b")
    with peft.disabled(model) as base:
        assert base is model
        assert peft.active(model) == []
        np.testing.assert_allclose(model.predict(tiny.PIXELS, verbose=0), answers[""], atol=1e-5)
    with pytest.raises(TypeError, match="unexpected"), peft.disabled(model):
        model.predict(tiny.PIXELS, nonsense=1)  # after an error, too
    assert peft.active(model) == ["b"]
    np.testing.assert_array_equal(model.predict(tiny.PIXELS, verbose=0), answers["b"])


def test_additions_add_up_and_one_head_is_said(two, tiny):
    """`first` gets both products, inside its activation; the head is the one that is named."""
    model, _, _ = two
    with pytest.raises(ValueError, match=r"\['a', 'b'\] has a head of its own; say whose to take, `head='a'`"):
        peft.activate(model, ["a", "b"])
    with pytest.raises(ValueError, match="`head` must be one of"):
        peft.activate(model, ["a"], head="b")
    peft.activate(model, ["a", "b"], head="b")
    first, last = model.get_layer("first"), model.get_layer("last")
    pooled = keras.Model(model.input, model.layers[2].output)(tiny.PIXELS)
    x = keras.ops.convert_to_numpy(pooled).astype("float64")
    h = x @ keras.ops.convert_to_numpy(first.kernel) + keras.ops.convert_to_numpy(first.bias)
    for one, scale in ((first.adapters["a"], 16 / 2), (first.adapters["b"], 5 / 3)):
        h = h + scale * x @ keras.ops.convert_to_numpy(one.lora_a) @ keras.ops.convert_to_numpy(one.lora_b)
    h = keras.ops.convert_to_numpy(keras.activations.gelu(h.astype("float32")))
    expected = h @ keras.ops.convert_to_numpy(last.kernel) + keras.ops.convert_to_numpy(last.bias)
    np.testing.assert_allclose(tiny.answer(model, tiny.PIXELS), expected, atol=1e-5)


def test_only_the_active_one_trains(two, tiny):
    model, answers, _ = two
    peft.activate(model, "a")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    old = model.optimizer
    assert np.abs(tiny.answer(model, tiny.PIXELS) - answers["a"]).max() > 1e-5
    peft.activate(model, "b")
    assert model.optimizer is not old  # one that knows the other weights
    assert [one.path for one in model.trainable_variables if "lora" in one.path] == ["first/b/lora_a", "first/b/lora_b"]
    np.testing.assert_allclose(tiny.answer(model, tiny.PIXELS), answers["b"], atol=1e-5)
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    peft.activate(model, "a")
    answers["a"] = model.predict(tiny.PIXELS, verbose=0)
    peft.activate(model, "b")
    answers["b"] = model.predict(tiny.PIXELS, verbose=0)


def test_all_of_them_are_in_the_file(two, tiny, tmp_path):
    model, answers, _ = two
    peft.activate(model, "b")
    save(model, tmp_path / "m.keras")
    again = load(tmp_path / "m.keras")
    assert peft.active(again) == ["b"]
    assert peft.adapter_names(again) == ["a", "b"]
    for name in ("b", "a"):
        peft.activate(again, name)
        np.testing.assert_array_equal(again.predict(tiny.PIXELS, verbose=0), answers[name])
    with peft.disabled(again):
        np.testing.assert_allclose(again.predict(tiny.PIXELS, verbose=0), answers[""], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: peft.activate(model, "c"), r"no adapter of that name\. Known: 'a', 'b'\. Received: 'c'"),
        (lambda model: peft.activate(model, []), "Name at least one adapter"),
        (lambda model: peft.eject(model, "c"), "no adapter of that name"),
        (lambda model: peft.add_adapter(model, "a"), "Each adapter has its own name"),
        (lambda model: peft.add_adapter(model, "c", like="x"), "no adapter of that name"),
        (lambda model: peft.add_adapter(model, "c", rang=3), "Did you mean 'rank'"),
        (lambda model: peft.add_adapter(model, "c", rank=0), "`rank` must be a whole number"),
        (lambda model: peft.inject(model, "lora", "first", name="a"), "Each adapter has its own name"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_changes(two, tiny, call, said):
    model, answers, _ = two
    peft.activate(model, "b")
    with pytest.raises(ValueError, match=said):
        call(model)
    assert peft.adapter_names(model) == ["a", "b"]
    np.testing.assert_allclose(tiny.answer(model, tiny.PIXELS), answers["b"], atol=1e-5)


def test_a_plain_model_is_a_type_error(tiny):
    for call in (peft.active, peft.eject, peft.merge, lambda model: peft.activate(model, "a")):
        with pytest.raises(TypeError, match=r"what `kt\.peft\.inject` returns"):
            call(tiny.dense())


def test_ejecting_gives_the_base_back_to_the_bit(two, tiny):
    """The last test of this module's model: it is gone after."""
    model, answers, start = two
    peft.activate(model, "b")
    assert peft.eject(model, "b") is model
    assert peft.active(model) == []
    np.testing.assert_allclose(model.predict(tiny.PIXELS, verbose=0), answers[""], atol=1e-5)
    peft.activate(model, "a")
    np.testing.assert_allclose(tiny.answer(model, tiny.PIXELS), answers["a"], atol=1e-5)
    base = peft.eject(model, "a")
    assert base is model.base
    assert not isinstance(base, peft.Injected)
    assert all(np.array_equal(*pair) for pair in zip(start, tiny.numbers(base), strict=True))
    assert len(base.trainable_variables) == len(start)
    np.testing.assert_allclose(base.predict(tiny.PIXELS, verbose=0), answers[""], atol=1e-5)


def test_the_head_of_what_was_ejected_does_not_train(tiny):
    """Its layers hold the base's values again."""
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, name="a")
    peft.activate(peft.add_adapter(model, "b"), ["a"])
    model.compile("sgd", "mse")
    peft.activate(model, "b")
    peft.eject(model, "b")
    assert model.trainable_variables == []
    peft.activate(model, ["a", "a"])
    assert [one.path.split("/")[0] for one in model.trainable_variables] == ["first", "first", "last", "last"]


def test_one_more_adapter_trains_what_the_one_it_is_like_trains(tiny):
    """A head is claimed only where that one has a head, and what trains whole takes no adapter."""
    model = peft.inject(tiny.dense(), "lora", ["first", "last"], rank=2, train=None)
    peft.activate(peft.add_adapter(model, "second"), ["default", "second"])
    assert model.heads.layers == {"default": [], "second": []}
    assert {one.path.split("/")[-1] for one in model.trainable_variables} == {"lora_a", "lora_b"}
    with pytest.raises(
        ValueError, match=r"takes no adapter; leave `train` out.*'default' stands at \['first', 'last'\]"
    ):
        peft.add_adapter(model, "third", train=["first", "last"])
    assert peft.adapter_names(model) == ["default", "second"]
    peft.activate(peft.add_adapter(model, "third", train="last"), "third")  # in place of the adapter that stands there
    assert [one.path for one in model.trainable_variables if "lora" in one.path] == [
        "first/third/lora_a",
        "first/third/lora_b",
    ]
    assert model.heads.layers["third"] == ["last"]
    peft.add_adapter(model, "fourth", like="third")
    assert model.heads.layers["fourth"] == ["last"]
    with pytest.raises(ValueError, match="What trains whole takes no adapter"):
        peft.inject(model, "lora", "last", name="fifth", train="last")


def test_what_trains_while_disabled_would_be_lost(tiny):
    """The head in place is the base's then: `fit`, a step, and a strategy, which fits a part, are refused."""
    model = peft.inject(tiny.dense(), "lora", "first", rank=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    before = tiny.answer(model, tiny.PIXELS)
    with peft.disabled(model), peft.disabled(model):
        pass
    with peft.disabled(model):
        for call in (
            lambda: model.fit(tiny.PIXELS, LABELS, verbose=0),
            lambda: model.train_on_batch(tiny.PIXELS, LABELS),
            lambda: tune(model, tiny.PIXELS, LABELS, epochs=1, verbose=0),
        ):
            with pytest.raises(
                ValueError, match=r"would be lost; compile before the block, and fit behind it\. Received:"
            ):
                call()
        model.evaluate(tiny.PIXELS, LABELS, verbose=0)
        for change in (
            lambda: peft.activate(model, "default"),
            lambda: peft.add_adapter(model, "more"),
            lambda: peft.inject(model, "lora", "first", rank=2, name="more"),
            lambda: peft.eject(model),
        ):
            with pytest.raises(ValueError, match=r"puts back what it found; do it behind the block\. Received:"):
                change()
    assert peft.active(model) == peft.adapter_names(model) == ["default"]
    np.testing.assert_array_equal(tiny.answer(model, tiny.PIXELS), before)
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    assert np.abs(tiny.answer(model, tiny.PIXELS) - before).max() > 1e-5


def test_an_adapter_that_is_off_does_not_train_and_does_not_decay(tiny):
    model = tiny.learn(peft.inject(tiny.dense(), "lora", "first", rank=2, name="a"))
    peft.add_adapter(model, "b")
    adapters = {name: model.get_layer("first").adapters[name] for name in "ab"}
    for one in adapters["b"].weights:
        if one.name != "gate":
            one.assign(np.ones(one.shape))
    unfreeze(model)
    assert not adapters["b"].trainable_variables
    assert adapters["a"].trainable_variables
    assert model.get_layer("last").trainable_variables
    rest = [one.copy() for one in adapters["b"].get_weights()]
    decaying = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    model.compile(decaying, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    assert all(np.array_equal(*pair) for pair in zip(rest, adapters["b"].get_weights(), strict=True))
    with pytest.raises(ValueError, match=r"part in the model's output to be trained\. Received: where='first/b'"):
        unfreeze(model, "first/b")
    peft.activate(model, "b")
    unfreeze(model)
    assert adapters["b"].trainable_variables
    assert not adapters["a"].trainable_variables


def test_ejecting_one_of_two_makes_an_optimizer_for_the_other(tiny, tmp_path):
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, name="a", train=None)
    peft.activate(peft.add_adapter(model, "b", train=None), ["a", "b"])
    model.compile("adam", "mse")
    y = np.zeros((len(tiny.PIXELS), 3))
    model.fit(tiny.PIXELS, y, verbose=0)
    peft.eject(model, "b")
    model.fit(tiny.PIXELS, y, verbose=0)
    assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [one.shape for one in again.optimizer.variables] == [one.shape for one in model.optimizer.variables]


def test_ejecting_another_leaves_head_and_freezing_as_they_are(tiny):
    """Law: the head that counts stays the one that was said, and what somebody froze stays frozen."""
    model = peft.inject(tiny.dense(), "lora", "first", train="last", name="a", rank=2)
    for name in "bc":
        peft.add_adapter(model, name)
    peft.activate(model, ["a", "b", "c"], head="b")
    model.get_layer("last").kernel.assign(np.full((12, 3), 7.0))
    peft.eject(model, "c")
    assert (peft.active(model), model.heads.live) == (["a", "b"], "b")
    assert np.array(model.get_layer("last").kernel)[0, 0] == 7
    freeze(model, "last")
    before = len(model.trainable_variables)
    peft.activate(peft.add_adapter(model, "d"), "b")
    freeze(model, "last")
    peft.eject(model, "d")
    assert len(model.trainable_variables) == before - 2  # a is off
    peft.activate(model, "b")
    peft.eject(model, "a")
    assert model.get_layer("last").trainable_variables  # which both trained


def test_a_file_holds_no_disabled_adapters(two, tmp_path):
    model = two[0]
    with peft.disabled(model), pytest.raises(ValueError, match=r"Save outside `kt.peft.disabled`"):
        save(model, tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_what_is_spared_from_decay_by_name_stays_so(tiny):
    model = peft.inject(tiny.dense(), "lora", "first", rank=2)
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["lora_b"])
    model.compile(optimizer, "mse")
    peft.activate(peft.add_adapter(model, "more"), "more")
    assert model.optimizer is not optimizer
    (decays, spared) = (
        model.optimizer._use_weight_decay(one) for one in model.trainable_variables if "lora" in one.path
    )
    assert (decays, spared) == (True, False)


def test_the_batch_norm_of_a_new_head_trains_and_that_of_the_base_does_not(tiny):
    norm = keras.layers.BatchNormalization
    pixels = keras.Input((16, 16, 3))
    x = norm(name="old")(keras.layers.Dense(4, name="first")(keras.layers.Flatten()(pixels)))
    head = keras.Sequential([keras.layers.Dense(4), norm(name="new"), keras.layers.Dense(3)], name="head")
    model = peft.inject(keras.Model(pixels, head(x)), "lora", "first", rank=2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    old, new = (np.array(layer.moving_mean) for layer in (model.get_layer("old"), head.layers[1]))
    model.fit(tiny.PIXELS, np.array([0, 1, 2, 0]), epochs=2, verbose=0)
    np.testing.assert_array_equal(np.array(model.get_layer("old").moving_mean), old)
    assert not np.array_equal(np.array(head.layers[1].moving_mean), new)
    assert head.layers[1].gamma.trainable
    peft.eject(model)
    np.testing.assert_array_equal(np.array(head.layers[1].moving_mean), new)


def test_a_loss_in_float16_stays_scaled(tiny):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        base = tiny.dense()
    finally:
        keras.config.set_dtype_policy("float32")
    base.compile("adam", "mse")
    assert isinstance(base.optimizer, keras.optimizers.LossScaleOptimizer)
    model = peft.inject(base, "lora", "first", rank=2)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    peft.activate(peft.add_adapter(model, "more"), "more")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_a_refused_layer_keeps_its_regularizer():
    pixels = keras.Input((4,))
    layer = keras.layers.EinsumDense("ab,b->ab", output_shape=4, activity_regularizer="l2", name="diagonal")
    model = keras.Model(pixels, keras.layers.Dense(3, name="last")(layer(pixels)))
    with pytest.raises(ValueError, match="Received"):
        peft.inject(model, "lora", "diagonal", rank=2)
    assert layer.activity_regularizer is not None


def test_a_fit_with_no_active_adapter_is_refused(tiny):
    """Keras would warn, run all epochs and change nothing."""
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, name="a")
    peft.eject(peft.add_adapter(model, "b"), "a")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"`kt\.peft\.activate` one, .* with the adapters \['b'\]"):
        model.fit(tiny.PIXELS, LABELS, verbose=0)
    assert np.isfinite(peft.activate(model, "b").fit(tiny.PIXELS, LABELS, verbose=0).history["loss"][0])


@pytest.mark.parametrize("second", ["houlsby", "bitfit", "ia3", "lora"])
def test_what_the_outer_of_two_methods_borrowed_comes_home(second):
    """Activation and regularizer of the base, when the outer goes first and when it goes last."""
    x = keras.Input((4,))
    batch = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for first_out in ("a", "b"):
        layer = keras.layers.Dense(3, activation="relu", activity_regularizer="l2", name="d")
        base = keras.Model(x, layer(x))
        start = np.asarray(base(batch))
        losses = [float(one) for one in base.losses]
        model = peft.inject(base, "lora", "d", train=None, rank=2, name="a")
        model = peft.inject(model, second, "d", train=None, name="b")
        model = peft.eject(model, first_out)
        np.testing.assert_array_equal(model(batch), start)
        np.testing.assert_allclose([float(one) for one in model.losses], losses, rtol=1e-6)
        base = peft.eject(model)
        np.testing.assert_array_equal(base(batch), start)
        np.testing.assert_allclose([float(one) for one in base.losses], losses, rtol=1e-6)
        assert base.get_layer("d").activity_regularizer is not None
