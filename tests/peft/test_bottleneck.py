"""Bottleneck adapters: the papers' formula and counts, where they stand, and that there is nothing to merge."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report
from keras_transfer.peft.blocks import transformer_blocks


def gelu(x):
    return np.asarray(keras.activations.gelu(x))


@pytest.mark.parametrize("method", ["houlsby", "pfeiffer"])
def test_the_papers_formula(tiny, method):
    x = keras.Input((5, 6))
    model = keras.Model(x, keras.layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d", name="end")(x))
    given = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    before = tiny.answer(model, given)
    model = peft.inject(model, method, "end", bottleneck=3, train=None)
    np.testing.assert_array_equal(tiny.answer(model, given), before)
    tiny.learn(model, scale=0.7)
    one = model.injections[0].adapters["default"]
    down, down_bias, up, up_bias = (np.asarray(part) for part in (one.down, one.down_bias, one.up, one.up_bias))
    right = before + gelu(before @ down + down_bias) @ up + up_bias
    np.testing.assert_allclose(tiny.answer(model, given), right, atol=1e-5)


def test_after_both_sublayers_or_after_the_feed_forward_network(tiny):
    names = {method: [one.name for one in peft.inject(tiny.bert_classifier(), method, bottleneck=4).injections]
             for method in ("houlsby", "pfeiffer")}  # fmt: skip
    assert names["houlsby"] == ["attention_output", "feedforward_output_dense"] * 2
    assert names["pfeiffer"] == ["feedforward_output_dense"] * 2
    ends = [one.path for block in transformer_blocks(tiny.vit()) for one in block.feedforward_outputs]
    assert [one.rpartition("/")[2] for one in ends] == ["dense_2"] * 2
    ends = [one.path for block in transformer_blocks(tiny.llama()) for one in block.feedforward_outputs]
    assert [one.rpartition("/")[2] for one in ends] == ["feedforward_output_dense"] * 2


def test_two_d_m_plus_d_plus_m_weights_each(tiny):
    """Houlsby et al. 2019, section 2.1, with m the bottleneck and d the width."""
    model = peft.inject(tiny.bert_classifier(), "houlsby", bottleneck=4, train=None)
    assert trainable_report(model).trainable == 4 * (2 * 16 * 4 + 16 + 4)
    assert (
        trainable_report(peft.inject(tiny.bert_classifier(), "pfeiffer", bottleneck=4, train=None)).trainable == 2 * 148
    )


def test_what_is_refused(tiny):
    model = peft.inject(tiny.bert_classifier(), "pfeiffer", bottleneck=4)
    with pytest.raises(ValueError, match="'pfeiffer' cannot be merged: save or export"):
        peft.merge(model)
    with pytest.raises(ValueError, match="`bottleneck` must be a whole number"):
        peft.inject(tiny.bert_classifier(), "houlsby", bottleneck=0)
    with pytest.raises(ValueError, match="No transformer block"):
        peft.inject(tiny.dense(), "houlsby")
    with pytest.raises(ValueError, match="handles no layer"):  # its features fill two axes
        peft.inject(tiny.bert_classifier(), "houlsby", "query")
