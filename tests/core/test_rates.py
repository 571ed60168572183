"""Rates that are resolved on a model: by place, falling towards the input, and without decay where none belongs."""

import re

import keras
import numpy as np
import pytest

from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import freeze, unfreeze
from keras_transfer.core.optimizers import LayerwiseOptimizer
from keras_transfer.core.rate_table import trainable_ever
from keras_transfer.core.rates import layerwise, layerwise_decay, layerwise_slice, no_decay, rate_report

layers = keras.layers


def multipliers(optimizer, model):
    """By layer, in the model's paths."""
    return {row["variable"].rpartition("/")[0]: row["multiplier"] for row in rate_report(optimizer, model).rows}


def decays(optimizer, model):
    return {row["variable"]: row["weight_decay"] > 0 for row in rate_report(optimizer, model).rows}


def stack(blocks=4):
    """A plain stack in the style of many examples: no part has a name that we know."""
    x = keras.Input((4,))
    h = layers.Embedding(10, 4, name="words")(x)
    h = layers.Flatten(name="flatten")(h)
    for index in range(blocks):
        h = layers.LayerNormalization(name=f"norm{index}")(layers.Dense(6, name=f"block{index}")(h))
    return keras.Model(x, layers.Dense(2, name="out")(h))


def test_places_get_their_multiplier_and_a_later_one_holds(small_model):
    model = small_model()
    two_groups = multipliers(layerwise("adam", model, {"backbone": 0.1}), model)
    assert two_groups == {path: 0.1 if path.startswith("backbone/") else 1.0 for path in two_groups}
    got = multipliers(layerwise("adam", model, {"backbone": 0.01, ("conv3", "bn3"): 0.1, "re:.*/conv1": 0}), model)
    assert [got[f"backbone/{name}"] for name in ("conv1", "bn1", "conv2", "conv3", "bn3")] == [0, 0.01, 0.01, 0.1, 0.1]
    pairs = [(layers.Conv2D, 0.5), (model.get_layer("backbone").get_layer("conv2"), np.float32(2))]
    got = multipliers(layerwise("adam", model, pairs), model)
    assert [got[path] for path in ("backbone/conv1", "backbone/conv2", "backbone/bn1", "head/logits")] == [0.5, 2, 1, 1]


def test_rates_fall_by_the_block_from_head_to_input(small_model):
    model = small_model()
    got = multipliers(layerwise_decay("adam", model, 0.5), model)
    want = {"conv1": 0.125, "bn1": 0.125, "conv2": 0.25, "bn2": 0.25, "conv3": 0.5, "bn3": 0.5}
    assert got == {**{f"backbone/{name}": value for name, value in want.items()}, "head/logits": 1.0}
    plain = stack(2)
    want = {"words": 0.125, "block0": 0.25, "norm0": 0.25, "block1": 0.5, "norm1": 0.5, "out": 1.0}
    assert multipliers(layerwise_decay("adam", plain, 0.5), plain) == want
    assert set(multipliers(layerwise_decay("adam", model, 1), model).values()) == {1.0}


def test_what_lies_before_the_blocks_is_lowest_and_what_lies_behind_is_new():
    pictures = keras.Input((8,))
    inside = keras.Input((8,))
    h = layers.Dense(8, name="second")(layers.Dense(8, name="first")(inside))
    backbone = keras.Model(inside, h, name="backbone")
    h = layers.Dense(8, name="neck")(backbone(layers.Dense(8, name="stem")(pictures)))
    model = keras.Model(pictures, layers.Dense(2, name="head")(h))
    got = multipliers(layerwise_decay("adam", model, 0.1), model)
    want = {"stem": 0.01, "backbone/first": 0.01, "backbone/second": 0.1, "neck": 1.0, "head": 1.0}
    assert got == pytest.approx(want)
    encoder = keras.Model(pictures, backbone(pictures))
    assert multipliers(layerwise_decay("adam", encoder, 0.1), encoder) == pytest.approx(
        {"backbone/first": 0.01, "backbone/second": 0.1}
    )


def test_the_slice_is_geometric_as_fastai_has_it(small_model):
    """fastai's even_mults(start, stop, n): start * (stop / start) ** (i / (n - 1))."""
    model = small_model()
    for low, high in [(0.01, 1.0), (1e-4, 10.0), (0.5, 0.5)]:
        got = multipliers(layerwise_slice("adam", model, low, high), model)
        groups = [got[path] for path in ("backbone/conv1", "backbone/conv2", "backbone/conv3", "head/logits")]
        np.testing.assert_allclose(groups, [low * (high / low) ** (i / 3) for i in range(4)])
        assert got["backbone/bn1"] == got["backbone/conv1"]


def test_biases_and_normalisations_do_not_decay_but_embeddings_do():
    class ScaleNorm(layers.Layer):
        def build(self, shape):
            self.gain = self.add_weight(shape=(shape[-1],), name="gain")

        def call(self, x):
            return x * self.gain

    x = keras.Input((4, 4))
    h = layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    for name in ("BatchNormalization", "LayerNormalization", "RMSNormalization"):
        h = getattr(layers, name)(name=name)(h)
    h = ScaleNorm(name="own")(layers.GroupNormalization(2, name="GroupNormalization")(h))
    h = layers.SpectralNormalization(layers.Dense(4), name="spectral")(h)
    words = keras.Input((4,))
    model = keras.Model([x, words], layers.Add()([h, layers.Embedding(9, 4, name="words")(words)]))
    got = decays(no_decay("adamw", model), model)
    decaying = {path.split("/")[0] + "/" + path.split("/")[-1] for path, on in got.items() if on}
    assert decaying == {"attention/kernel", "spectral/kernel", "words/embeddings"}
    named = decays(no_decay("adamw", model, "words"), model)
    assert [path for path, on in named.items() if not on] == ["words/embeddings"]


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Muon"])
def test_what_does_not_decay_moves_as_without_decay(name):
    """Two plain optimizers, one that decays and one that does not, are the reference."""
    make = getattr(keras.optimizers, name)
    none = {"weight_decay": 0.0, **({"adam_weight_decay": 0.0} if name == "Muon" else {})}
    some = {"weight_decay": 0.3, **({"adam_weight_decay": 0.2} if name == "Muon" else {})}
    grads = [np.ones(one.shape, "float32") for one in stack(1).trainable_weights]

    def stepped(wrap, **settings):
        keras.utils.set_random_seed(0)
        model = stack(1)
        optimizer = wrap(make(0.05, **settings), model)
        for _ in range(4):
            optimizer.apply([keras.ops.convert_to_tensor(grad) for grad in grads], model.trainable_weights)
        return model.get_weights()

    def plain(optimizer, model):
        return optimizer

    got = stepped(no_decay, **some)
    for one, ours, with_decay, without in zip(
        stack(1).weights, got, stepped(plain, **some), stepped(plain, **none), strict=True
    ):
        decaying = one.name in ("kernel", "embeddings")
        np.testing.assert_allclose(ours, with_decay if decaying else without, rtol=0, atol=1e-7)
        assert not decaying or np.abs(with_decay - without).max() > 1e-3


def test_one_wrapper_whatever_the_order(small_model):
    model = small_model()
    one = no_decay(layerwise(layerwise_decay("adamw", model, 0.5), model, {"head": 10, "conv1": 4}), model)
    two = layerwise_decay(layerwise(no_decay("adamw", model), model, {"head": 10, "conv1": 4}), model, 0.5)
    assert type(one.inner) is type(two.inner) is keras.optimizers.AdamW
    assert multipliers(one, model) == multipliers(two, model)
    assert multipliers(one, model)["backbone/conv1"] == 0.5
    assert decays(one, model) == decays(two, model)
    named = layerwise(LayerwiseOptimizer("adamw", {"conv2": 0.1}), model, {"backbone": 0.5})
    assert [multipliers(named, model)[f"backbone/{name}"] for name in ("conv1", "conv2")] == [0.5, 0.05]
    excluding = keras.optimizers.AdamW()
    excluding.exclude_from_weight_decay(var_names=["kernel"])  # Keras forgets it in a file, the rows do not
    assert not any(
        on for path, on in decays(layerwise(excluding, model, {"head": 2}), model).items() if "kernel" in path
    )


def test_what_is_frozen_has_its_rate_for_later(small_model, pictures):
    model = small_model()
    freeze(model)
    unfreeze(model, ["head", "conv3"])
    optimizer = layerwise(keras.optimizers.SGD(0.1), model, {"backbone": 0.1, "conv1": 0.0})
    before = [np.array(one) for one in model.weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fit(model, *pictures, optimizer=optimizer, loss=loss, epochs=1, batch_size=50, verbose=0)
    moved = {
        "/".join(one.path.split("/")[-2:])
        for one, old in zip(model.weights, before, strict=True)
        if np.abs(np.array(one) - old).max() > 0
    }
    assert moved == {"conv3/kernel", "conv3/bias", "logits/kernel", "logits/bias"}
    assert [row.multiplier for row in optimizer.rows] == [0.1, 0.1, 1.0, 1.0]
    unfreeze(model)
    later = LayerwiseOptimizer.from_config(optimizer.get_config())
    later.build(model.trainable_weights)
    rates = dict(
        zip([one.path for one in model.trainable_weights], [row.multiplier for row in later.rows], strict=True)
    )
    assert (rates["conv1/kernel"], rates["conv2/kernel"]) == (0.0, 0.1)


def test_built_anew_over_more_it_goes_on_with_all(small_model):
    """What progressive unfreezing does to the optimizer of a fit that has begun."""
    from keras_transfer.core.training import cover, retrace

    model = small_model()
    freeze(model)
    unfreeze(model, "head")
    model.compile(layerwise(keras.optimizers.Adam(0.1), model, {"conv3": 0.01}), "mse")
    model.optimizer.build(model.trainable_variables)
    cover(model, trainable_ever(model))
    assert len(model.optimizer.variables) == 2 + 2 * len(trainable_ever(model))
    unfreeze(model, "conv3")
    retrace(model)
    before = np.array(model.get_layer("backbone").get_layer("conv3").kernel)
    x = np.random.default_rng(0).random((4, 16, 16, 3))
    model.fit(x, np.ones((4, 3)), epochs=1, batch_size=4, verbose=0)
    moved = np.abs(np.array(model.get_layer("backbone").get_layer("conv3").kernel) - before).max()
    assert moved == pytest.approx(0.001, rel=0.01)  # Adam's first step is the rate


def test_the_report_says_what_happens(small_model):
    model = small_model()
    freeze(model, "conv1")
    optimizer = no_decay(layerwise(keras.optimizers.AdamW(0.02, 0.3), model, {"backbone": 0.1, "conv2": 0}), model)
    report = rate_report(optimizer, model)
    rows = {row["variable"]: row for row in report.rows}
    assert rows["head/logits/kernel"] == {
        "variable": "head/logits/kernel",
        "params": 24,
        "multiplier": 1.0,
        "learning_rate": pytest.approx(0.02),
        "weight_decay": 0.3,
        "state": "trains",
    }
    assert rows["backbone/conv1/kernel"]["state"] == "frozen"
    assert rows["backbone/conv2/kernel"]["state"] == "stands still"
    assert rows["backbone/bn3/gamma"]["learning_rate"] == pytest.approx(0.002)
    assert rows["backbone/bn3/gamma"]["weight_decay"] == rows["head/logits/bias"]["weight_decay"] == 0.0
    assert report.line == "learning rate: 0.02 || 10 of 14 variables train, 2 rates, 2 decay"
    assert re.split("  +", str(report).splitlines()[0])[2:] == ["multiplier", "learning rate", "weight decay", "state"]
    assert len(str(report).splitlines()) == len(rows) + 2
    assert report._repr_html_().count("<tr>") == len(rows) + 1
    wrapped = keras.optimizers.LossScaleOptimizer(optimizer)
    assert rate_report(wrapped, model).rows == report.rows
    plain = rate_report(keras.optimizers.AdamW(0.02, 0.3), model)
    assert {(row["multiplier"], row["weight_decay"]) for row in plain.rows} == {(1.0, 0.3)}
    with pytest.raises(TypeError, match=r"one learning rate\. Received: .*MultiOptimizer"):
        rate_report(keras.optimizers.MultiOptimizer(lambda variable: None), model)


@pytest.mark.slow
def test_in_a_fit_each_block_moves_its_share(small_model, pictures):
    def moved(wrap):
        model, before = small_model(), small_model().get_weights()
        optimizer = keras.optimizers.SGD(0.5)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(layerwise_decay(optimizer, model, 0.1) if wrap else optimizer, loss)
        keras.utils.set_random_seed(0)
        model.fit(*pictures, epochs=1, batch_size=50, verbose=0)
        steps = (np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True))
        return {
            one.path.split("/")[-2]: step
            for one, step in zip(model.weights, steps, strict=True)
            if "kernel" in one.path
        }

    slow, fast = moved(True), moved(False)
    shares = {name: slow[name] / fast[name] for name in fast}
    assert shares == pytest.approx({"conv1": 1e-3, "conv2": 1e-2, "conv3": 0.1, "logits": 1.0}, rel=2e-2)


def test_bad_input_is_one_sentence(small_model):
    model = small_model()

    def refuses(call, text, kind=ValueError):
        with pytest.raises(kind, match=text):
            call()

    refuses(lambda: layerwise("adam", model, {"conv9": 0.1}), "Did you mean .*conv1.*Received: where='conv9'")
    for bad in (-0.1, float("nan"), float("inf"), "0.1", None, True):
        refuses(lambda bad=bad: layerwise("adam", model, {"head": bad}), "finite number.*Received: .* for 'head'")
    for empty in ({}, [], 0.1):
        refuses(lambda empty=empty: layerwise("adam", model, empty), "one at least. Received: ")
    refuses(lambda: layerwise("adam", model, {"pooling": 0.1}), "could train. Received: where='pooling'")
    refuses(lambda: layerwise("adam", model, {"conv1": 0.1, "backbone": 0.5}), "broader one first. Received: 'conv1'")
    for decay in (0, -0.5, 1.5, float("nan")):
        refuses(lambda decay=decay: layerwise_decay("adam", model, decay), "Received: ")
    for low, high in ((0, 1), (1, 0.5), (-1, 1), (0.1, float("inf"))):
        refuses(lambda low=low, high=high: layerwise_slice("adam", model, low, high), "Received: ")
    refuses(lambda: no_decay("adam", model), "AdamW.*Received: Adam without")
    refuses(lambda: no_decay("adamw", model, "conv9"), "Received: where='conv9'")
    refuses(lambda: no_decay("adamw", model, "pooling"), "Received: where='pooling'")
    refuses(lambda: layerwise("adan", model, {"head": 1}), "'adam'.*Received: 'adan'")
    refuses(lambda: layerwise(3, model, {"head": 1}), "Received: 3", TypeError)
    refuses(lambda: layerwise(keras.optimizers.SGD(0.0), model, {"head": 1}), "above 0. Received: 0.0")
    used = keras.optimizers.SGD()
    used.build(model.trainable_weights)
    refuses(lambda: layerwise(used, model, {"head": 1}), "before the optimizer is built")
    refuses(
        lambda: layerwise(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), model, {"head": 1}), "one inside"
    )
    other = layerwise("adam", small_model(), {"head": 0.1})
    refuses(lambda: layerwise(other, model, {"head": 0.1}), "another model")
    refuses(lambda: trainable_ever(keras.Sequential([layers.Dense(2)])), "must be built")


SCRIPT = """
import os
import sys
import tempfile

import numpy as np
import keras
from keras_transfer.core import rates

layers = keras.layers
x, y = np.random.default_rng(0).random((24, 8), "float32"), np.ones((24, 2), "float32")
keras.utils.set_random_seed(0)
h = layers.Dense(8, "tanh", name="second")(layers.Dense(8, "tanh", name="first")(inputs := keras.Input((8,))))
model = keras.Model(inputs, layers.Dense(2, name="head")(h))
settings = {"gradient_accumulation_steps": 3, "global_clipnorm": 1.0}
optimizer = rates.layerwise_decay(keras.optimizers.AdamW(0.1, 0.01, **settings), model, 0.1)
optimizer = rates.no_decay(rates.layerwise(optimizer, model, {"second": 0}), model)
before = [np.array(v) for v in model.weights]
model.compile(optimizer, "mse")
model.fit(x, y, batch_size=8, epochs=1, verbose=0)  # one step of three batches
moved = [np.abs(np.array(v) - old).max() for v, old in zip(model.weights, before)]
np.testing.assert_allclose(moved[0] / moved[4], 0.01, rtol=0.02)
assert moved[2] == moved[3] == 0 and moved[4] > 0.05
with tempfile.TemporaryDirectory() as folder:
    model.save(os.path.join(folder, "m.keras"))
    again = keras.models.load_model(os.path.join(folder, "m.keras"))
for one in (model, again):
    one.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
for a, b in zip(model.weights, again.weights):
    np.testing.assert_array_equal(np.array(a), np.array(b))
"""


@pytest.mark.slow
def test_trains_on_jax_with_tensorflow_blocked(on_jax):
    assert on_jax(SCRIPT) == "done on JAX"
