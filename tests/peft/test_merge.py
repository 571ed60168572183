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
