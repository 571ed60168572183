"""Merging gives a plain model that answers alike; what cannot be merged is told before anything is touched."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import freeze


def test_a_task_stays_a_task_and_needs_nothing_of_ours(tiny, tmp_path):
    model = tiny.learn(peft.inject(tiny.bert_classifier(), "lora", "all-linear", rank=2, bias="all"))
    expected = tiny.answer(model, tiny.BERT_INPUT)
    merged = peft.merge(model)
    assert type(merged).__name__ == "BertTextClassifier"
    assert len(merged.trainable_variables) == len(merged.weights) == len(tiny.bert_classifier().weights)
    np.testing.assert_allclose(tiny.answer(merged, tiny.BERT_INPUT), expected, atol=1e-5)
    merged.save(tmp_path / "m.keras")
    assert b"keras_transfer" not in (tmp_path / "m.keras").read_bytes()
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(tiny.answer(again, tiny.BERT_INPUT), expected, atol=1e-5)


def test_only_the_active_one_is_folded_in(tiny):
    model = tiny.learn(peft.inject(tiny.dense(), "lora", "first", rank=2, name="a"))
    expected = tiny.answer(model, tiny.PIXELS)
    tiny.learn(peft.activate(peft.add_adapter(model, "b"), "b"), seed=2)
    peft.activate(model, "a")
    np.testing.assert_allclose(tiny.answer(peft.merge(model), tiny.PIXELS), expected, atol=1e-5)


def test_what_was_frozen_before_is_frozen_again(tiny):
    model = freeze(tiny.dense(), "first")
    merged = peft.merge(peft.inject(model, "lora", "first", rank=2))
    assert [one.path.split("/")[0] for one in merged.trainable_variables] == ["last", "last"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["lora_b", "kernel"])
def test_no_number_is_refused_and_nothing_changed(tiny, value, name):
    model = peft.inject(tiny.dense(), "lora", "first", rank=2)
    before = tiny.numbers(model.base)
    weight = next(one for one in model.trainable_variables if one.name == name)
    weight.assign(np.full(weight.shape, value))
    with pytest.raises(ValueError, match=rf"no finite number cannot be merged.*'{name}' at '(first/default|last)'"):
        peft.merge(model)
    assert len(model.injections) == 1
    weight.assign(before[[id(one) for one in model.base.weights].index(id(weight))])
    assert all(np.array_equal(*pair) for pair in zip(before, tiny.numbers(model.base), strict=True))


def test_none_active_is_refused(tiny):
    model = peft.inject(tiny.dense(), "lora", "first", rank=2)
    with pytest.raises(ValueError, match=r"must be active to be merged.*\['default'\]"), peft.disabled(model):
        peft.merge(model)


def test_whole_numbers_are_refused_with_what_to_do_instead():
    x = keras.Input((16,))
    model = keras.Model(x, keras.layers.Dense(8, name="first")(x))
    model.quantize("int8")
    model = peft.inject(model, "lora", "first", rank=2, train=None)
    with pytest.raises(ValueError, match=r"quantised kernel cannot take an adapter up; .*'first' quantised as 'int8'"):
        peft.merge(model)
    assert len(model.injections) == 1


@pytest.mark.parametrize(
    ("outer", "inner"), [("ia3", "lora"), ("lora", "ia3"), ("ia3", "bitfit"), ("lora", "dora"), ("ia3", "dora")]
)
def test_two_methods_at_one_layer_are_folded_in_from_the_inside(tiny, outer, inner):
    model = peft.inject(tiny.dense(), outer, "first", name="a", train=None)
    model = peft.inject(model, inner, "first", name="b", train=None)
    expected = tiny.answer(tiny.learn(peft.activate(model, ["a", "b"]), scale=0.5), tiny.PIXELS)
    np.testing.assert_allclose(tiny.answer(peft.merge(model), tiny.PIXELS), expected, atol=1e-4)


@pytest.mark.parametrize("inner", ["lora", "ia3", "bitfit"])
def test_dora_is_not_folded_in_over_another(tiny, inner):
    model = peft.inject(tiny.dense(), "dora", "first", name="a", train=None)
    model = peft.inject(model, inner, "first", name="b", train=None)
    expected = tiny.answer(tiny.learn(peft.activate(model, ["a", "b"]), scale=0.5), tiny.PIXELS)
    with pytest.raises(ValueError, match=r"cannot be merged over others.*Received: \['b'\] at layer 'first'"):
        peft.merge(model)
    np.testing.assert_array_equal(tiny.answer(model, tiny.PIXELS), expected)


def test_whole_numbers_below_another_injection_are_refused_too(tiny):
    model = peft.inject(peft.quantize(tiny.dense(), "int8", "first"), "ia3", "first", name="a", train=None)
    model = peft.activate(peft.inject(model, "lora", "first", name="b", train=None), "a")
    with pytest.raises(ValueError, match=r"quantised kernel cannot take an adapter up; .*'first' quantised as 'int8'"):
        peft.merge(model)


def test_rematerialised_blocks_are_told_of(tiny):
    model = peft.inject(peft.rematerialised(tiny.bert_classifier()), "lora", rank=2)
    with pytest.raises(ValueError, match=r"quantised or rematerialised.*`kt\.peft\.dequantize` it first"):
        peft.merge(model)
