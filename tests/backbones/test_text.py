"""Text encoders: what goes in is what keras-hub's preprocessors give, pooling by its formula, weights, files."""

import inspect
import json
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from keras_transfer.backbones import TextPooling, build_text_classifier, build_text_encoder, text_names
from keras_transfer.backbones.text_catalog import ENCODERS
from keras_transfer.backbones.text_inputs import TextInputs
from keras_transfer.core.freezing import trainable_report
from keras_transfer.core.selection import find, select
from keras_transfer.data import TextData

TEXTS = ["a good film", "the film was not good , the film was bad . the film was bad . the film was bad .", "one"]
PAIRS = [("a good film", "not bad"), (TEXTS[1], "very poor"), ("a film", TEXTS[1])]
SIZES = {
    "vocabulary_size": 60,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 32,
}
MODELS = keras_hub.models


def bpe():
    letters = sorted({letter for text in [*TEXTS, "not very poor"] for letter in text.replace(" ", "Ġ")})
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "Ġf"]
    return MODELS.RobertaTokenizer(vocabulary={word: at for at, word in enumerate(words)}, merges=["Ġ f"])


def word_piece(kind, words):
    return kind(vocabulary=words, lowercase=True)


@pytest.fixture(scope="module")
def words():
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*specials, *["a", "the", "film", "was", "is", "good", "bad", "not", "very", "poor", "one", ",", ".", "##s"]]


def family(name, words):
    """A tiny encoder of a family with a tokenizer of it, and keras-hub's own preprocessor."""
    tokenizer = bpe() if name == "Roberta" else word_piece(getattr(MODELS, f"{name}Tokenizer"), words)
    kind = getattr(MODELS, f"{name}Backbone")
    backbone = kind(
        **{key: value for key, value in SIZES.items() if key in inspect.signature(kind.__init__).parameters}
    )
    return backbone, tokenizer, getattr(MODELS, f"{name}TextClassifierPreprocessor")


def packed(preprocessor, tokenizer, texts, length):
    """What keras-hub makes of texts or pairs."""
    import tensorflow as tf

    columns = tuple(
        tf.constant(column) for column in (map(list, zip(*texts, strict=True)) if texts is PAIRS else [texts])
    )
    return preprocessor(tokenizer, sequence_length=length)(x=columns if texts is PAIRS else columns[0])


@pytest.mark.parametrize("name", ["Bert", "DistilBert", "Roberta"])
@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_what_goes_into_the_encoder_is_what_keras_hub_gives(name, texts, words):
    """Number: ids, mask and segments of keras-hub's preprocessor, cut texts among them; and how long they really are."""
    backbone, tokenizer, preprocessor = family(name, words)
    model = build_text_classifier(backbone, 2, tokenizer=tokenizer, max_length=12)
    theirs = packed(preprocessor, tokenizer, texts, 12)
    layer = model.get_layer("preprocessing")
    ids, whole = layer.encode(texts)
    batch = np.full((len(ids), 12), layer.pad_id)
    for row, one in zip(batch, ids, strict=True):
        row[: len(one)] = one
    ours = layer(batch)
    assert set(ours) >= set(backbone.input)
    for key in backbone.input:
        np.testing.assert_array_equal(np.asarray(ours[key]), np.asarray(theirs[key]).astype(int), err_msg=key)
    long = packed(preprocessor, tokenizer, texts, 200)
    np.testing.assert_array_equal(whole, np.asarray(long["padding_mask"]).sum(1))
    assert (whole > 12).any()
    assert name == "Roberta" or (whole < 12).any()


def test_tokenising_in_tf_data_and_in_python_is_one(words):
    from keras_transfer.data import tokenizing

    layer = build_text_encoder(family("Bert", words)[0], vocabulary=words, max_length=9).get_layer("preprocessing")
    for texts in (TEXTS * 60, PAIRS * 60):
        (one, one_whole), (other, other_whole) = layer.encode(texts), tokenizing.token_ids(layer, texts)
        np.testing.assert_array_equal(one_whole, other_whole)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_pooling_leaves_padding_out():
    rng = np.random.default_rng(0)
    hidden, mask = rng.normal(size=(3, 5, 4)).astype("float32") - 2, np.array([[1, 1, 0, 0, 0], [1] * 5, [0] * 5])
    mean, largest, first = (np.asarray(TextPooling(mode)(hidden, mask)) for mode in ("mean", "max", "cls"))
    for row in range(2):
        kept = hidden[row][mask[row] == 1]
        np.testing.assert_allclose(mean[row], kept.mean(0), rtol=1e-5)
        np.testing.assert_allclose(largest[row], kept.max(0))
    np.testing.assert_array_equal(first, hidden[:, 0])
    assert not mean[2].any()
    assert not largest[2].any()


def test_padding_changes_no_answer(text_classifier):
    """Law: the same text in a longer batch."""
    for pooling in ("pooled", "cls", "mean", "max"):
        model = text_classifier(pooling=pooling)
        ids = np.array([[2, 7, 10, 3]], "int32")
        longer = np.pad(ids, ((0, 0), (0, 12)))
        np.testing.assert_allclose(np.asarray(model(ids)), np.asarray(model(longer)), atol=1e-5, err_msg=pooling)
        assert not np.allclose(np.asarray(model(ids)), np.asarray(model(ids[:, ::-1])))


def test_the_parts_have_their_names(text_classifier):
    model = text_classifier(3, hidden=8)
    assert [layer.name for layer in model.layers] == ["token_ids", "preprocessing", "backbone", "pooling", "head"]
    assert [layer.name for layer in model.get_layer("head").layers] == ["hidden_1", "dropout", "logits"]
    assert model.get_layer("head").get_layer("dropout").rate == 0.1
    assert isinstance(model.get_layer("backbone"), MODELS.BertBackbone)
    assert model.output_shape == (None, 3)
    assert {path.split("/")[0] for path, _ in select(model, "head")} == {"head"}
    frozen, scratch = trainable_report(model), trainable_report(text_classifier(weights=None))
    assert frozen.trainable == 16 * 8 + 8 + 8 * 3 + 3
    assert scratch.trainable == scratch.total
    blocks = find("blocks", model)
    assert [block[0].name for block in blocks] == ["token_embedding", "transformer_layer_0", "transformer_layer_1"]
    assert [layer.name for layer in blocks[-1]] == ["transformer_layer_1", "pooled_dense"]
    assert build_text_encoder(MODELS.BertBackbone(**SIZES), pooling="mean").output_shape == (None, 16)


@pytest.mark.slow
def test_a_saved_model_brings_its_tokenizer_into_another_process(text_classifier, tmp_path):
    """Law: plain Keras in a fresh process gives the same answers to the same strings."""
    model = text_classifier(pooling="mean")
    model.save(tmp_path / "m.keras")
    ids, _ = model.get_layer("preprocessing").encode(["a good film"])
    script = (
        "import sys, keras_transfer, keras\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "ids, _ = model.get_layer('preprocessing').encode(['a good film'])\n"
        "print(ids[0].tolist(), [float(x) for x in model(ids[0][None])[0]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m.keras")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tokens, answers = done.stdout.strip().splitlines()[-1].split("] [")
    assert eval(f"{tokens}]") == ids[0].tolist()
    np.testing.assert_allclose(eval(f"[{answers}"), np.asarray(model(ids[0][None]))[0], atol=1e-5)


def test_a_folder_of_a_preset_brings_weights_and_tokenizer(words, tmp_path):
    backbone, tokenizer, _ = family("Bert", words)
    backbone.save_to_preset(str(tmp_path))
    tokenizer.save_to_preset(str(tmp_path))
    model = build_text_classifier(f"hub:{tmp_path}", 2, max_length=20)
    ids, _ = model.get_layer("preprocessing").encode(["a good film"])
    given = {"token_ids": ids[0][None], "padding_mask": np.ones((1, 5)), "segment_ids": np.zeros((1, 5))}
    answers = [np.asarray(one(given)["pooled_output"]) for one in (backbone, model.get_layer("backbone"))]
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert not trainable_report(model).rows[1]["trainable"]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="could not be loaded"):
        build_text_classifier(str(tmp_path), 2)


def test_a_checkpoint_of_transformers_is_a_preset_too(tmp_path):
    """keras-hub reads its words from the files of its family: `tokenizer.json` need not be there."""
    sizes = {"vocab_size": 60, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 34, "hidden_dropout_prob": 0.1}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", **sizes}))
    (tmp_path / "vocab.json").write_text(json.dumps(bpe().vocabulary))
    (tmp_path / "merges.txt").write_text("Ġ f\n", encoding="utf-8")
    model = build_text_classifier(str(tmp_path), 2, weights=None)
    assert len(model.get_layer("preprocessing").encode(TEXTS)[0]) == len(TEXTS)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(ValueError, match=r"must hold tokenizer\.json"):
        build_text_classifier(str(tmp_path), 2, weights=None)


def test_weights_from_a_file_are_loaded_exactly(text_classifier, tmp_path):
    one = text_classifier(weights=None)
    one.get_layer("backbone").save_weights(tmp_path / "b.weights.h5")
    values = one.get_layer("backbone").get_weights()
    keras.utils.set_random_seed(5)
    other = build_text_classifier(
        MODELS.BertBackbone(**{**SIZES, "num_layers": 2}), 2, weights=tmp_path / "b.weights.h5"
    )
    for a, b in zip(values, other.get_layer("backbone").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="does not fit"):
        build_text_classifier(MODELS.BertBackbone(**SIZES), 2, weights=tmp_path / "b.weights.h5")


def test_a_cased_vocabulary_keeps_its_case(words):
    backbone = MODELS.BertBackbone(**SIZES)
    cased = build_text_encoder(backbone, vocabulary=[*words, "Film"]).get_layer("preprocessing")
    lower = build_text_encoder(backbone, vocabulary=words).get_layer("preprocessing")
    at = len(words)
    assert cased.encode(["a Film"])[0][0].tolist() == [2, 5, at, 3]
    assert lower.encode(["A FÏLM"])[0][0].tolist() == lower.encode(["a film"])[0][0].tolist()


def test_the_shapes_of_the_catalogue_are_the_published_ones():
    """Number: parameters of BERT as published (Turc et al. 2019, table 2; MiniLM 22.7 M), counted by hand."""
    for name, entry in ENCODERS.items():
        a = entry.arguments
        v, d, layers, positions = a["vocabulary_size"], a["hidden_dim"], a["num_layers"], a["max_sequence_length"]
        block = 4 * (d * d + d) + 2 * 4 * d * d + 5 * d + 4 * d
        extra = 2 * d + d * d + d if entry.backbone == "BertBackbone" else 0
        total = v * d + positions * d + 2 * d + layers * block + extra
        known = {
            "bert_tiny": 4_385_920,
            "bert_base": 109_482_240,
            "minilm_l6": 22_713_216,
            "distilbert_base": 66_362_880,
        }
        assert total == known.get(name, total), name
    model = build_text_classifier("bert_tiny", 2, weights=None)
    assert model.get_layer("backbone").count_params() == 4_385_920
    assert "minilm_l6" in text_names()


def test_data_finds_the_tokenizer_of_the_model(text_classifier, reviews):
    texts, _ = reviews
    model, data = text_classifier(), TextData.from_arrays(*reviews)
    tokens = data.tokenized(model)
    assert tokens is data.tokenized(model)
    assert tokens.for_model(model) is tokens
    split = tokens.splits["train"]
    x, y = split.gather([0, 1, 2])
    assert x.dtype == np.int32
    assert x.shape[1] % 8 == 0
    rows = model.get_layer("preprocessing").encode(split.texts[:3])[0]
    for row, one in zip(x, rows, strict=True):
        np.testing.assert_array_equal(row, np.pad(one, (0, len(row) - len(one))))
    np.testing.assert_array_equal(y, split.targets()[:3])
    assert split.of_one_length(16).gather([0])[0].shape == (1, 16)
    assert split.fingerprint != data.splits["train"].fingerprint
    batches = list(tokens.train)
    assert sum(len(y) for _, y in batches) == len(split)
    assert {x.dtype.name for x, _ in batches} == {"int32"}
    report = text_classifier(max_length=5).get_layer("preprocessing")
    cut = data.tokenized(report).lengths
    assert cut.cut == len(texts)
    assert "48 of 48" not in str(tokens.lengths)
    assert "cut at 5 tokens" in str(cut)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"backbone": "bert_tyni", "weights": None}, ValueError, "preset of keras-hub"),
        ({"backbone": "bert_tiny"}, ValueError, "shape without weights"),
        ({"backbone": 5}, TypeError, "must be a preset"),
        ({"pooling": "avg"}, ValueError, "Unknown pooling"),
        ({"max_length": 99}, ValueError, "at most 32"),
        ({"max_length": 2}, ValueError, "at least 3"),
        ({"vocabulary": ["a", "b"]}, ValueError, "does not fit"),
        ({"vocabulary": "nowhere.txt"}, ValueError, "a word a line"),
        ({"vocabulary": ["[PAD]"] * 99}, ValueError, "60 words at most"),
        ({"tokenizer": "bert"}, TypeError, "one of keras-hub"),
        ({"tokenizer": 1, "vocabulary": []}, ValueError, "not both"),
        ({"num_classes": 1}, ValueError, "at least 2"),
        ({"weights": 5}, TypeError, "path of an .h5"),
    ],
)
def test_what_is_wrong_is_told(settings, error, message):
    given = {"backbone": MODELS.BertBackbone(**SIZES), "num_classes": 2, **settings}
    with pytest.raises(error, match=message) as told:
        build_text_classifier(given.pop("backbone"), given.pop("num_classes"), **given)
    assert "Received:" in str(told.value)


def test_what_is_no_text_encoder_is_told():
    pictures = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must take token_ids"):
        build_text_classifier(pictures, 2)
    with pytest.raises(ValueError, match="pools itself"):
        build_text_classifier(MODELS.DistilBertBackbone(**SIZES), 2, pooling="pooled")
    with pytest.raises(ValueError, match="has no tokenizer"):
        build_text_encoder(MODELS.BertBackbone(**SIZES)).get_layer("preprocessing").encode(["a"])
    with pytest.raises(ValueError, match="WordPiece"):
        build_text_classifier(MODELS.RobertaBackbone(**SIZES), 2, vocabulary=["a"])


def test_the_config_of_the_input_layer_holds_no_path(text_classifier, tmp_path, words):
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    layer = build_text_encoder(MODELS.BertBackbone(**SIZES), vocabulary=tmp_path / "vocab.txt").get_layer(
        "preprocessing"
    )
    config = layer.get_config()
    assert str(tmp_path) not in repr(config)
    again = TextInputs.from_config(config)
    assert again.get_config() == config
    config["tokenizer"] = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="must hold a tokenizer"):
        TextInputs.from_config(config)


@pytest.mark.slow
def test_minilm_embeds_as_its_authors_do(data_root):
    """Number: the cosines of three sentences with the original weights (sentence-transformers), 0.69 and -0.08."""
    folder = data_root / "text_minilm"
    model = build_text_encoder(
        "minilm_l6", pooling="mean", vocabulary=folder / "vocab.txt",
        weights=folder / "all_minilm_l6_v2.bert_backbone.weights.h5",
    )  # fmt: skip
    texts = ["A man is playing a guitar on stage.", "Someone performs music with a guitar."]
    ids, _ = model.get_layer("preprocessing").encode(texts)
    one, other = (np.asarray(model(row[None]))[0] for row in ids)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine == pytest.approx(0.69, abs=0.006)
