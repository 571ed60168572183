"""Prompt tuning: the blocks run by hand, HF PEFT's logits, words as first values, padding, switches, refusals."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report

MODES = ({}, {"at": "tokens"}, {"at": "tokens", "pool": "prompt"})


def lively(model):
    """With weights large enough for attention to matter, which keras-hub's first ones are not."""
    random = np.random.default_rng(5)
    for one in model.weights:
        one.assign_add(random.normal(0, 0.3, one.shape).astype("float32"))
    return model


def long_bert(tiny):
    return lively(tiny.hub().BertTextClassifier(tiny.bert(max_sequence_length=16), num_classes=3, preprocessor=None))


def prompt_of(model, name="default"):
    return next(one.adapters[name] for one in model.injections if hasattr(one.adapters[name], "prompt"))


def test_the_prompt_is_in_front_of_the_first_block_and_gone_after_the_last(tiny):
    """Lester et al. 2021: [P; x] through all blocks; everything else is the base's, run here layer by layer."""
    base, x = lively(tiny.bert()), tiny.BERT_INPUT
    words, places = base.get_layer("token_embedding")(x["token_ids"]), base.get_layer("position_embedding")
    h = base.get_layer("embeddings_layer_norm")(
        words + places(words) + base.get_layer("segment_embedding")(x["segment_ids"])
    )
    model = tiny.learn(peft.inject(base, "prompt", length=3, train=None), scale=1.0)
    prompt = np.asarray(prompt_of(model).prompt)
    h = ops.concatenate([np.repeat(prompt[None], 4, 0), h], axis=1)
    mask = np.concatenate([np.ones((4, 3), "int32"), x["padding_mask"]], axis=1)
    for one in model.injections:
        h = one.base(h, padding_mask=mask)
    given = model(x, training=False)
    np.testing.assert_allclose(given["sequence_output"], h[:, 3:], atol=1e-5)
    np.testing.assert_allclose(given["pooled_output"], base.get_layer("pooled_dense")(h[:, 3]), atol=1e-5)


def test_the_logits_of_hf_peft():
    place = Path(__file__).parents[1] / "references" / "hf_bases.py"
    spec = importlib.util.spec_from_file_location("hf_bases", place)
    bases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bases)
    file = load_file(bases.GOLDEN / "bert_prompt" / "adapter_model.safetensors")
    model = peft.inject(bases.build("bert"), "prompt", length=4, at="tokens", pool="prompt", train="logits")
    prompt_of(model).prompt.assign(file["prompt_embeddings"])
    model.get_layer("logits").kernel.assign(file["base_model.classifier.weight"].T)
    model.get_layer("logits").bias.assign(file["base_model.classifier.bias"])
    with np.load(bases.GOLDEN / "logits.npz") as found:
        np.testing.assert_allclose(model(bases.inputs("bert")), found["bert_prompt"], atol=1e-5)


@pytest.mark.fast(1)
@pytest.mark.parametrize("mode", MODES)
def test_off_it_is_the_base_also_where_it_was_traced(tiny, mode):
    base, x = long_bert(tiny), tiny.BERT_INPUT
    before = tiny.answer(base, x)
    model = tiny.learn(peft.inject(base, "prompt", length=3, name="a", train=None, **mode), scale=1.0)
    a = model.predict(x, verbose=0)
    np.testing.assert_allclose(tiny.answer(model, x), a, atol=1e-5)
    assert np.abs(a - before).max() > 0.01
    with peft.disabled(model):
        np.testing.assert_array_equal(tiny.answer(model, x), before)
        np.testing.assert_allclose(model.predict(x, verbose=0), before, atol=1e-5)
    model = tiny.learn(peft.inject(model, "prompt", length=2, name="b", train=None, **mode), scale=1.0, seed=1)
    b = tiny.answer(model, x)
    peft.activate(model, "a")
    np.testing.assert_allclose(tiny.answer(model, x), a, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), a, atol=1e-5)
    peft.activate(model, "b")  # the second in line, the first now off
    np.testing.assert_allclose(model.predict(x, verbose=0), b, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_padding_stays_unseen(tiny, mode):
    model, x = peft.inject(long_bert(tiny), "prompt", length=3, **mode), tiny.BERT_INPUT
    other = {**x, "token_ids": np.where(x["padding_mask"] == 1, x["token_ids"], 7)}
    np.testing.assert_array_equal(tiny.answer(model, other), tiny.answer(model, x))
    cut = {name: value[1:2, :5] for name, value in x.items()}  # the text whose last three are padding, without them
    np.testing.assert_allclose(tiny.answer(model, cut), tiny.answer(model, x)[1:2], atol=1e-5)


def test_a_prompt_of_words_is_what_the_model_would_read(tiny):
    """At the tokens: their rows. At the embeddings: what goes into the first block when the words are all there is."""
    model = peft.inject(long_bert(tiny), "prompt", length=3, at="tokens", seed=4)
    rows = np.asarray(model.backbone.token_embedding.embeddings)
    first = np.asarray(prompt_of(model).prompt)
    assert all((rows == one).all(1).any() for one in first)
    base = lively(tiny.bert())
    read = keras.Model(base.inputs, base.get_layer("embeddings_layer_norm").output)
    ids = np.random.default_rng(4).choice(np.arange(60), 3)
    right = read(
        [
            {"token_ids": ids, "padding_mask": np.ones(3), "segment_ids": np.zeros(3)}[one.name][None]
            for one in base.inputs
        ]
    )
    np.testing.assert_allclose(prompt_of(peft.inject(base, "prompt", length=3, seed=4)).prompt, right[0], atol=1e-6)


def test_a_prompt_may_be_longer_than_the_positions(tiny):
    model = peft.inject(lively(tiny.bert()), "prompt", length=20)
    first = np.asarray(prompt_of(model).prompt)
    assert first.shape == (20, 16)
    assert np.isfinite(tiny.answer(model, tiny.BERT_INPUT)).all()


def test_a_prompt_of_a_text(tiny):
    keras_hub = pytest.importorskip("keras_hub")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", *[f"w{n}" for n in range(53)]]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    backbone = tiny.bert(max_sequence_length=16)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=preprocessor)
    model = peft.inject(model, "prompt", length=3, at="tokens", text="good bad")
    rows = np.asarray(backbone.token_embedding.embeddings)
    np.testing.assert_array_equal(prompt_of(model).prompt, rows[[5, 6, 5]])


@pytest.mark.parametrize("at", ["tokens", "embeddings"])
def test_a_prompt_of_a_text_by_the_tokenizer_of_our_own_classifier(text_classifier, at):
    """Its layer `preprocessing` holds one; the words are 10 and 11 of its vocabulary, and none is a special token."""
    model = text_classifier(max_length=16)
    backbone = model.get_layer("backbone")
    given = [np.array([[10, 11, 10]]), np.ones((1, 3)), np.zeros((1, 3))]
    read = keras.Model([backbone.input[name] for name in ("token_ids", "padding_mask", "segment_ids")],
                       backbone.get_layer("embeddings_layer_norm").output)  # fmt: skip
    right = {"tokens": np.asarray(backbone.token_embedding.embeddings)[[10, 11, 10]], "embeddings": read(given)[0]}
    model = peft.inject(model, "prompt", length=3, at=at, text="good bad")
    np.testing.assert_allclose(prompt_of(model).prompt, right[at], atol=1e-6)
    drawn = peft.inject(text_classifier(), "prompt", length=200, at="tokens")
    table = np.asarray(drawn.get_layer("backbone").token_embedding.embeddings)
    apart = np.abs(np.asarray(prompt_of(drawn).prompt)[:, None] - table[None, [0, 2, 3, 4]]).sum(-1)
    assert apart.min() > 0


def test_length_times_width_weights_and_the_words_learn(tiny):
    keras.utils.set_random_seed(0)
    model = peft.inject(tiny.distil_bert(), "prompt", length=5, train=None)
    assert trainable_report(model).trainable == 5 * 16
    model.compile(keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(tiny.TOKENS, np.array([0, 1, 2, 0]), epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_decoder_reads_it_too(tiny):
    base, x = lively(tiny.llama()), tiny.TOKENS
    before = tiny.answer(base, x)
    model = tiny.learn(peft.inject(base, "prompt", length=3), scale=1.0)
    assert tiny.answer(model, x).shape == before.shape
    assert np.abs(tiny.answer(model, x) - before).max() > 0.01
    later = {**x, "token_ids": np.where(np.arange(8) < 5, x["token_ids"], 9)}  # what comes after is not seen before
    np.testing.assert_allclose(tiny.answer(model, later)[:, :5], tiny.answer(model, x)[:, :5], atol=1e-5)
    with pytest.raises(ValueError, match="use 'lora' to generate"):
        model.generate({"token_ids": x["token_ids"], "padding_mask": x["padding_mask"]}, stop_token_ids=None)


def test_what_is_refused(tiny):
    with pytest.raises(ValueError, match="one chain of blocks with a padding mask"):
        peft.inject(tiny.vit(), "prompt")
    with pytest.raises(ValueError, match="No transformer block"):
        peft.inject(tiny.dense(), "prompt")
    with pytest.raises(ValueError, match="leave `where` out"):
        peft.inject(tiny.bert(), "prompt", "transformer_layer_0")
    with pytest.raises(ValueError, match="`pool='prompt'` needs `at='tokens'`"):
        peft.inject(tiny.bert(), "prompt", pool="prompt")
    with pytest.raises(ValueError, match="`at` must be one of"):
        peft.inject(tiny.bert(), "prompt", at="end")
    with pytest.raises(ValueError, match="must fit into the 8 positions"):
        peft.inject(tiny.bert(), "prompt", length=1, at="tokens")(tiny.BERT_INPUT)
    with pytest.raises(
        ValueError,
        match=r"needs a tokenizer in the model.*build_text_classifier.*task of keras-hub.*text='good'",
    ):
        peft.inject(tiny.bert(), "prompt", text="good")
    shared = tiny.hub().AlbertBackbone(**tiny.SIZES, embedding_dim=16, max_sequence_length=8)
    with pytest.raises(ValueError, match="each run once"):
        peft.inject(shared, "prompt")
    model = peft.inject(long_bert(tiny), "prompt", length=2, at="tokens", train=None)
    for start in ("words", "normal"):
        with pytest.raises(ValueError, match=r"takes the whole model.*Received: \d+ of \d+ places"):
            peft.add_adapter(model, "other", start=start, train="token_embedding")
    assert peft.adapter_names(model) == ["default"]
    model = peft.inject(long_bert(tiny), "prompt", length=2)
    with pytest.raises(ValueError, match="must agree on `at` and `pool`"):
        peft.inject(model, "prompt", length=2, at="tokens", name="other")
    with pytest.raises(ValueError, match="'prompt' cannot be merged"):
        peft.merge(model)


def test_a_second_prompt_starts_as_words_too(tiny):
    model = peft.add_adapter(peft.inject(tiny.bert_classifier(), "prompt", length=2), "longer", length=3)
    holder = next(one for one in model.injections if hasattr(one.adapters["longer"], "prompt"))
    prompt = np.asarray(holder.adapters["longer"].prompt)
    assert prompt.shape == (3, 16)
    np.testing.assert_allclose(prompt.std(-1), 1.0, atol=0.05)  # behind a normalisation; 0.02 if it were drawn normal
