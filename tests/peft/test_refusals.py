"""What cannot be injected, copied or cached is told, and leaves the model as it was."""

import copy

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.surgery import describe


def test_a_base_that_is_injected_already_is_refused(tiny):
    base = tiny.dense()
    model = peft.inject(base, "lora", "first", rank=2)
    for again in (lambda: peft.inject(base, "lora", "first", name="b"), lambda: peft.quantize(base, "nf4", "last")):
        with pytest.raises(ValueError, match=r"holds injections already; .*Received: .* at 'first'"):
            again()
    assert peft.adapter_names(model) == ["default"]


def test_what_fails_late_leaves_the_model_as_it_was(tiny):
    base = tiny.bert_classifier()
    before, count = tiny.numbers(base), len(base.trainable_variables)
    with pytest.raises(ValueError, match=r"`text` needs a tokenizer in the model: .* Received: text='good or bad'"):
        peft.inject(base, "prompt", length=2, text="good or bad")
    assert len(base.trainable_variables) == count
    assert all(np.array_equal(*pair) for pair in zip(before, tiny.numbers(base), strict=True))


def test_a_layer_without_part_in_the_output_is_refused(tiny):
    backbone = tiny.bert()
    tokens = backbone(backbone.input)["sequence_output"]
    model = keras.Model(backbone.input, keras.layers.GlobalAveragePooling1D()(tokens))
    count = len(model.weights)
    with pytest.raises(ValueError, match=r"part in the model's output to be injected\. Received: where='pooled_dense'"):
        peft.inject(model, "lora", "pooled_dense", train=None)
    assert len(model.weights) == len(model.trainable_variables) == count


def test_what_keras_cannot_do_with_an_injection_is_told(tiny):
    model = tiny.learn(peft.inject(tiny.dense(), "lora", "first", rank=2))
    with pytest.raises(ValueError, match=r"copy an injected model with `copy\.deepcopy`.*Received: LoRA at 'first'"):
        keras.models.clone_model(model)
    np.testing.assert_array_equal(tiny.answer(copy.deepcopy(model), tiny.PIXELS), tiny.answer(model, tiny.PIXELS))
    under = tiny.dense()
    under.get_layer("first").enable_lora(2)
    with pytest.raises(ValueError, match=r"under Keras' own `enable_lora`.*Received: layer 'first'"):
        peft.inject(under, "lora", "first", rank=2)


def test_a_cache_key_knows_the_settings_of_adapters(tiny):
    keys = [repr(describe(peft.inject(tiny.bert(), "lora", rank=2, alpha=alpha))) for alpha in (16, 32, 16)]
    assert keys[0] == keys[2] != keys[1]
