"""`tune` trains what trains already, at the injected method's rate; strategies that would move a base refuse it."""

import keras
import numpy as np
import pytest

from keras_transfer import peft, tuning
from keras_transfer.backbones import build_text_classifier
from keras_transfer.core.freezing import freeze, unfreeze


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,), name="x")
    h = keras.layers.Dense(8, "relu", name="inner")(x)
    return keras.Model(x, keras.layers.Dense(3, name="head")(h))


DATA = np.random.default_rng(0).normal(size=(48, 6)).astype("float32"), np.arange(48) % 3


def test_only_the_adapters_and_the_head_move(model):
    injected = peft.inject(model, "lora", "inner", rank=2)
    inner = np.array(model.get_layer("inner").base.kernel)
    head = np.array(model.get_layer("head").kernel)
    history = tuning.tune(injected, *DATA, epochs=2, keep="last", verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]
    np.testing.assert_array_equal(inner, np.array(model.get_layer("inner").base.kernel))
    assert np.abs(head - np.array(model.get_layer("head").kernel)).max() > 0
    assert np.abs(np.array(injected.injections[0].adapters["default"].lora_b)).max() > 0


def test_the_rate_is_that_of_the_slowest_method(model, monkeypatch):
    injected = peft.inject(model, "lora", "inner", rank=2)
    monkeypatch.setattr(peft.LoRA, "rate", 3e-4)
    assert tuning.tune(injected, *DATA, epochs=1, keep="last", verbose=0).stages[0]["learning_rate"] == 3e-4
    given = tuning.tune(injected, *DATA, epochs=1, learning_rate=0.1, keep="last", verbose=0)
    assert given.stages[0]["learning_rate"] == 0.1


def test_what_was_unfrozen_trains_and_a_frozen_model_is_refused(model):
    freeze(model)
    with pytest.raises(ValueError, match=r"inject a method, or unfreeze layers first\. Received: a frozen model"):
        tuning.tune(model, *DATA)
    unfreeze(model, "inner")
    head = np.array(model.get_layer("head").kernel)
    tuning.tune(model, *DATA, epochs=1, keep="last", verbose=0)
    np.testing.assert_array_equal(head, np.array(model.get_layer("head").kernel))


def test_the_head_of_a_text_model_has_its_own_rate():
    model = build_text_classifier(
        keras_hub_bert(), 2, vocabulary=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"], max_length=8
    )
    injected = peft.inject(model, "lora", rank=2)
    ids = np.random.default_rng(0).integers(4, 7, (16, 8)).astype("int32")
    tuning.tune(injected, ids, np.arange(16) % 2, epochs=1, learning_rate=1e-4, keep="last", verbose=0)
    rows = tuning.rate_report(injected.optimizer, injected).rows
    assert {row["multiplier"] for row in rows if "logits" in row["variable"]} == {10.0}
    assert {row["multiplier"] for row in rows if "lora" in row["variable"]} == {1.0}


def keras_hub_bert():
    import keras_hub

    return keras_hub.models.BertBackbone(7, 1, 2, 8, 16, max_sequence_length=8)


@pytest.mark.parametrize("strategy", ["full", "feature_extraction", "layerwise", "partial", "progressive"])
def test_strategies_refuse_an_injected_model(model, strategy):
    from keras_transfer.core.registry import get

    injected = peft.inject(model, "lora", "inner", rank=2)
    with pytest.raises(ValueError, match=r"train its adapters with kt\.tuning\.tune"):
        get("strategy", strategy)(injected, *DATA, verbose=0)


def test_the_rate_is_that_of_what_is_active(model, monkeypatch):
    """An adapter that is off has no say."""
    injected = peft.inject(peft.inject(model, "lora", "inner", name="a"), "ia3", "inner", name="b")
    rates = {type(one).__name__: one.rate for one in injected.injections}
    assert rates["LoRA"] != rates["IA3"]
    for name, kind in (("b", "IA3"), ("a", "LoRA")):
        peft.activate(injected, name)
        tuning.tune(injected, *DATA, epochs=1, keep="last", verbose=0)
        assert float(injected.optimizer.learning_rate) == pytest.approx(rates[kind])
