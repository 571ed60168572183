"""What a stage does with each block: the names, the states and the rates, and what counts as learned."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core.block_states import block_states, blocks_of, learned
from keras_transfer.core.rate_table import trainable_ever
from keras_transfer.core.surgery import own_trainable_variables

layers = keras.layers


def classifier(**settings):
    return kt.build_classifier("mobilenet_0.25", 2, weights=None, input_shape=(32, 32, 3), **settings)


def pretend_learned(model):
    """The backbone's weights as a training would leave them."""
    random = np.random.default_rng(0)
    backbone = model.get_layer("backbone")
    backbone.set_weights([w + random.uniform(0, 0.1, w.shape).astype(w.dtype) for w in backbone.get_weights()])
    return kt.unfreeze(kt.freeze(model), "head")


@pytest.fixture(scope="module")
def model():
    return pretend_learned(classifier())


def told(rows):
    return [(row["name"], row["state"], row["learning_rate"]) for row in rows]


def test_a_row_a_block_from_the_pixels_to_the_head(model):
    rows = block_states(model, learned(model), 1e-3)
    names = ["conv1", *(f"conv_dw_{number}" for number in range(1, 14))]
    assert told(rows) == [*((name, "frozen", None) for name in names), ("head", "trained", 1e-3)]


def test_law_every_weight_that_could_train_is_in_one_block():
    built = [classifier(hidden=8), keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=3)]
    flat = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="a"), layers.Dense(4, name="b"), layers.Dense(2)])
    for one in (*built, flat):
        found = [id(v) for _, block in blocks_of(one) for layer in block for v in own_trainable_variables(layer)]
        assert sorted(found) == sorted(id(variable) for variable in trainable_ever(one))
        assert len({name for name, _ in blocks_of(one)}) == len(blocks_of(one))


def test_number_the_rates_are_those_of_the_optimizer(model):
    kt.unfreeze(model, ["head", "top:3"])
    try:
        decayed = block_states(model, learned(model), 1e-3, kt.layerwise_decay("adam", model, 0.5))
        still = block_states(model, learned(model), 1e-3, kt.layerwise("adam", model, {"backbone": 0.1, "top:1": 0.0}))
        open_rate = block_states(model, learned(model), None)
    finally:
        kt.unfreeze(kt.freeze(model), "head")
    names = ["conv_dw_11", "conv_dw_12", "conv_dw_13", "head"]
    assert told(decayed)[-4:] == [
        *((name, "fine-tuned", pytest.approx(rate)) for name, rate in zip(names, (1.25e-4, 2.5e-4, 5e-4), strict=False)),
        ("head", "trained", pytest.approx(1e-3)),
    ]  # fmt: skip
    assert [row["state"] for row in decayed[:-4]] == ["frozen"] * 11
    # at multiplier 0 a block does not move: it is frozen, whatever its flag
    assert told(still)[-3:] == [
        ("conv_dw_12", "fine-tuned", pytest.approx(1e-4)), ("conv_dw_13", "frozen", None), ("head", "trained", 1e-3)
    ]  # fmt: skip
    assert told(open_rate)[-2:] == [("conv_dw_13", "fine-tuned", None), ("head", "trained", None)]


def test_what_is_new_is_not_learned():
    new = classifier()
    assert learned(new) == set()
    assert {row["state"] for row in block_states(new, learned(new), 1e-3)} == {"trained"}


def test_what_was_trained_is_learned_the_head_too(model):
    head = {id(layer) for layer in model.get_layer("head").layers}
    assert not learned(model) & head
    assert len(learned(model)) > 50
    kernel, bias = model.get_layer("head").get_layer("logits").get_weights()
    model.get_layer("head").get_layer("logits").set_weights([kernel, bias + np.array([0.1, -0.1], "float32")])
    try:
        assert learned(model) & head
    finally:
        model.get_layer("head").get_layer("logits").set_weights([kernel, bias])


@pytest.mark.parametrize(("frozen", "state"), [(True, "fine-tuned"), (False, "trained")])
def test_without_vectors_what_is_frozen_counts_as_learned(frozen, state):
    kernels = [layers.Dense(4, use_bias=False, name=name) for name in ("a", "b")]
    one = keras.Sequential([keras.Input((8,)), *kernels, layers.Dense(2, name="head")])
    kernels[0].trainable = not frozen
    known = learned(one)
    kernels[0].trainable = True
    assert [row["state"] for row in block_states(one, known, 1e-3)] == [state, state, "trained"]


def small():
    """Three blocks and a head."""
    backbone = keras.Sequential(name="backbone")
    backbone.add(keras.Input((8, 8, 3)))
    for number in range(3):
        backbone.add(layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv_{number}"))
    backbone.add(layers.GlobalAveragePooling2D())
    head = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="logits")], name="head")
    return keras.Sequential([keras.Input((8, 8, 3)), backbone, head])


@pytest.mark.slow
def test_effect_a_training_tells_the_blocks_of_its_stages():
    x, y = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 3)).astype("float32"), np.arange(8) % 2
    stages = [
        kt.tuning.Stage("head", "head", 1, 1e-2),
        kt.tuning.Stage("all", None, 1, 1e-3, layer_decay=0.5),
        kt.tuning.Stage("top", ["head", "top:1"], 1, keras.optimizers.schedules.CosineDecay(1e-3, 10)),
    ]
    history = kt.tuning.fit_stages(pretend_learned(small()), stages, x, y, verbose=0)
    names = ["conv_0", "conv_1", "conv_2", "head"]
    assert [[row["name"] for row in stage["blocks"]] for stage in history.stages] == [names] * 3
    assert [[row["state"] for row in stage["blocks"]] for stage in history.stages] == [
        ["frozen"] * 3 + ["trained"],
        ["fine-tuned"] * 3 + ["trained"],
        ["frozen"] * 2 + ["fine-tuned", "trained"],
    ]
    rates = [[row["learning_rate"] for row in stage["blocks"]] for stage in history.stages]
    assert rates[0] == [None, None, None, 1e-2]
    assert rates[1] == pytest.approx([1.25e-4, 2.5e-4, 5e-4, 1e-3])
    assert rates[2] == [None] * 4  # a schedule has no one rate
    scratch = kt.tuning.full(small(), x, y, epochs=1, verbose=0)
    assert {row["state"] for row in scratch.stages[0]["blocks"]} == {"trained"}
