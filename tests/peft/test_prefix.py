"""Prefix tuning: attention over learned keys and values by NumPy, masks, counts, and which attentions are refused."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=bool)


def attention(dropout=0.0, causal=False):
    x, mask = keras.Input((5, 8)), keras.Input((5, 5), dtype="bool")
    layer = keras.layers.MultiHeadAttention(2, 4, dropout=dropout, bias_initializer="normal", name="attention")
    return keras.Model([x, mask], layer(x, x, attention_mask=mask, use_causal_mask=causal))


def softmax(z):
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def by_hand(layer, x, mask, key, value):
    """Li & Liang 2021: every query sees [P_K; K], [P_V; V]; nothing of the prefix is masked."""
    project = lambda dense: np.einsum("btc,chd->bthd", x, np.asarray(dense.kernel)) + np.asarray(dense.bias)  # noqa: E731
    q, k, v = (project(getattr(layer, f"{name}_dense")) for name in ("query", "key", "value"))
    k, v = (np.concatenate([np.repeat(front[None], len(x), 0), own], 1) for front, own in ((key, k), (value, v)))
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1])
    seen = np.concatenate([np.ones((len(x), x.shape[1], len(key)), bool), mask], -1)
    weights = softmax(np.where(seen[:, None], scores, -1e30))
    out = layer.output_dense
    return np.einsum("bthd,hdc->btc", np.einsum("bhts,bshd->bthd", weights, v), np.asarray(out.kernel)) + np.asarray(
        out.bias
    )


@pytest.mark.parametrize(("width", "dropout", "causal"), [(0, 0.0, False), (6, 0.0, False), (0, 0.5, True)])
def test_attention_over_prefix_and_sequence(tiny, width, dropout, causal):
    mask = np.repeat(MASK[:, None], 5, 1)
    model = peft.inject(attention(dropout, causal), "prefix", length=3, width=width, train=None)
    tiny.learn(model, scale=0.8)
    one = model.injections[0]
    key, value = (np.asarray(part) for part in one.prefix(one.adapters["default"]))
    seen = mask & np.tri(5, dtype=bool) if causal else mask
    right = by_hand(one.base, X, seen, key, value)
    np.testing.assert_allclose(tiny.answer(model, [X, mask]), right, atol=1e-5)
    np.testing.assert_allclose(model.predict([X, mask], verbose=0), right, atol=1e-5)


def test_two_prefixes_stand_side_by_side_and_either_can_be_off(tiny):
    given = [X, np.repeat(MASK[:, None], 5, 1)]
    model = attention()
    before = tiny.answer(model, given)
    model = tiny.learn(peft.inject(model, "prefix", length=3, name="a", train=None), seed=1)
    a = tiny.answer(model, given)
    model = tiny.learn(peft.inject(model, "prefix", length=2, name="b", train=None), seed=2)
    b = tiny.answer(model, given)
    both = tiny.answer(peft.activate(model, ["a", "b"]), given)
    traced = model.predict(given, verbose=0)
    np.testing.assert_allclose(traced, both, atol=1e-5)
    assert len({np.round(one, 4).tobytes() for one in (before, a, b, both)}) == 4
    np.testing.assert_array_equal(tiny.answer(peft.activate(model, "a"), given), a)
    np.testing.assert_allclose(model.predict(given, verbose=0), a, atol=1e-5)  # the same traced function
    with peft.disabled(model):
        np.testing.assert_array_equal(tiny.answer(model, given), before)
        np.testing.assert_allclose(model.predict(given, verbose=0), before, atol=1e-5)


def test_padding_stays_unseen_and_what_is_learned_is_counted(tiny):
    model = tiny.bert_classifier()
    for one in model.weights:  # so that attention matters
        one.assign_add(np.random.default_rng(5).normal(0, 0.3, one.shape).astype("float32"))
    model = tiny.learn(peft.inject(model, "prefix", length=3, train=None))
    assert trainable_report(model).trainable == 2 * (2 * 3 * 16)
    x = tiny.BERT_INPUT
    other = {**x, "token_ids": np.where(x["padding_mask"] == 1, x["token_ids"], 7)}
    np.testing.assert_array_equal(tiny.answer(model, other), tiny.answer(model, x))
    assert [one.name for one in peft.inject(tiny.vit(), "prefix", length=2).injections] == ["mha", "mha"]


def test_what_is_refused(tiny):
    with pytest.raises(ValueError, match=r"Take 'lora' for this model. Received: LlamaAttention at '.*self_attention'"):
        peft.inject(tiny.llama(), "prefix")
    with pytest.raises(ValueError, match="has no attention"):
        peft.inject(tiny.dense(), "prefix")
    with pytest.raises(ValueError, match="`length` must be"):
        peft.inject(tiny.bert_classifier(), "prefix", length=0)
    with pytest.raises(ValueError, match="'prefix' cannot be merged"):
        peft.merge(peft.inject(tiny.bert_classifier(), "prefix", length=2))
