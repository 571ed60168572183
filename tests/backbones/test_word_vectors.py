"""Word vectors read for a vocabulary, how many words they cover, and the LSTM and the transformer beside a pretrained encoder."""

import gzip

import h5py
import keras
import numpy as np
import pytest

from keras_transfer.backbones import (
    WordInputs,
    build_lstm_classifier,
    build_transformer_classifier,
    learn_vocabulary,
    load_word_vectors,
)
from keras_transfer.core.saving import load, save
from keras_transfer.core.selection import select
from keras_transfer.data import load_texts
from keras_transfer.tuning import full

TEXTS = ["A good film!", "a bad, bad film", "Paris is good", "NASA said so"]
VECTORS = {"good": [1, 0], "bad": [-1, 0], "film": [0, 1], "Paris": [0, 2], "NASA": [0, 3], "a": [0.5, 0.5]}


def written(path, lines, opener=open):
    with opener(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def lines_of(vectors, head=False):
    lines = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in vectors.items()]
    return [f"{len(lines)} 2", *lines] if head else lines


def test_every_format_gives_the_same(tmp_path):
    words, array = list(VECTORS), np.array(list(VECTORS.values()))
    sources = [
        VECTORS,
        (words, array),
        written(tmp_path / "glove.txt", lines_of(VECTORS)),
        written(tmp_path / "fast.vec", lines_of(VECTORS, head=True)),
        written(tmp_path / "glove.txt.gz", lines_of(VECTORS), gzip.open),
        str(written(tmp_path / "spaces.txt", [*lines_of(VECTORS), ". . . 9 9", "good 7 7", ""])),
    ]
    for source in sources:
        found = load_word_vectors(source, TEXTS)
        rows = dict(zip(found.words, found.matrix[2:], strict=True))
        for word, key in {
            "good": "good",
            "bad": "bad",
            "film": "film",
            "paris": "Paris",
            "nasa": "NASA",
            "a": "a",
        }.items():
            np.testing.assert_allclose(rows[word], VECTORS[key], err_msg=f"{word} of {source}")
        assert found.matrix.shape == (len(found.words) + 2, found.dim) == (11, 2)
        np.testing.assert_array_equal(found.matrix[0], 0)
        np.testing.assert_allclose(found.matrix[1], array.mean(0), atol=1e-6)


def test_coverage_is_counted_and_told():
    found = load_word_vectors(VECTORS, TEXTS)
    assert found.words == ("a", "bad", "film", "good", "is", "nasa", "paris", "said", "so")
    coverage = found.coverage
    assert (coverage.types, coverage.found, coverage.tokens, coverage.found_tokens) == (9, 6, 13, 10)
    assert coverage.cases == {"as it is": 4, "lower case": 0, "Capitalised": 1, "UPPER CASE": 1}
    assert coverage.missing == ("is", "said", "so")
    assert str(coverage).splitlines() == [
        "6 of 9 words have a vector (66.7%)",
        "10 of 13 words of the texts (76.9%)",
        "found as it is: 4, lower case: 0, Capitalised: 1, UPPER CASE: 1",
        "missing: is, said, so",
    ]
    cased = load_word_vectors(VECTORS, TEXTS, standardize="none", max_words=3)
    assert cased.words == ("bad,", "A", "NASA")[:0] + cased.words
    assert cased.coverage.types == 3
    by_words = load_word_vectors(VECTORS, vocabulary=["Good", "absent"]).coverage
    assert (by_words.cases["lower case"], by_words.tokens, by_words.missing) == (1, 0, ("absent",))


def test_words_without_a_vector_are_like_the_others():
    """Normal with their mean and deviation, seeded."""
    rng = np.random.default_rng(0)
    known = {f"w{i}": rng.normal(3, 0.5, 40) for i in range(50)}
    vocabulary = [*known, *(f"new{i}" for i in range(200))]
    found = load_word_vectors(known, vocabulary=vocabulary)
    new = found.matrix[52:]
    assert abs(new.mean() - 3) < 0.03
    assert abs(new.std() - 0.5) < 0.03
    assert len(np.unique(new[:, 0])) == 200
    np.testing.assert_array_equal(load_word_vectors(known, vocabulary=vocabulary).matrix, found.matrix)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["good 1 0", "bad 1"], r"Line 2 must be a word and 2 numbers\. Received: 'bad 1.*' \(1 numbers\) in '"),
        (
            ["3 2", "good 1 0", "bad 1 x"],
            r"Line 3 must be a word and 2 numbers\. Received: 'bad 1 x.*could not convert",
        ),
        (["9 2", "good 1 0"], r"first line says 9 words; the file is cut short\. Received: 1 words in "),
        (["good 1 nan"], r"must have a row of finite numbers\. Received: 'good' with \(2,\), not all finite"),
        (["word"], r"A line is a word and its numbers\. Received: 'word"),
        ([""], r"A line is a word and its numbers\. Received: '"),
        (
            ["gut 1 0", "schlecht 0 1"],
            r"None of the 9 words has a vector; .* Received: words like a, bad, film, good, is",
        ),
    ],
)
def test_a_file_that_is_none(tmp_path, lines, match):
    with pytest.raises(ValueError, match=match):
        load_word_vectors(written(tmp_path / "x.txt", lines), TEXTS)


@pytest.mark.parametrize(
    ("source", "given", "kind", "match"),
    [
        (
            "nowhere.txt",
            {"texts": TEXTS},
            ValueError,
            r"There must be a file of word vectors\. Received: 'nowhere.txt'",
        ),
        (3, {"texts": TEXTS}, TypeError, r"must be a file, \(words, array\) or a dictionary\. Received: int"),
        (
            (["a"], np.ones((2, 2))),
            {"texts": TEXTS},
            ValueError,
            r"has a row a word, .* Received: 1 words, shape \(2, 2\)",
        ),
        (VECTORS, {}, ValueError, r"Give `texts` or `vocabulary`, one of the two\. Received: none"),
        (VECTORS, {"texts": TEXTS, "vocabulary": ["a"]}, ValueError, r"Received: both"),
        (VECTORS, {"texts": "one text"}, TypeError, r"`texts` must be several texts, not one\. Received: 'one text'"),
        (VECTORS, {"texts": [""]}, ValueError, r"There must be at least one word\. Received: none"),
        (VECTORS, {"texts": TEXTS, "standardize": "lowr"}, ValueError, r"Unknown `standardize`\. Did you mean 'lower'"),
        (VECTORS, {"texts": TEXTS, "max_words": 0}, ValueError, r"`max_words` must be .* at least 1\. Received: 0"),
    ],
)
def test_what_is_refused(source, given, kind, match):
    with pytest.raises(kind, match=match):
        load_word_vectors(source, **given)


def test_a_binary_or_damaged_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"3 2\n\x00\x01")
    with pytest.raises(ValueError, match=r"read as text, .* unpack or convert the file\. Received: '.*x.bin'"):
        load_word_vectors(tmp_path / "x.bin", TEXTS)
    data = written(tmp_path / "x.txt.gz", lines_of(VECTORS), gzip.open).read_bytes()
    (tmp_path / "x.txt.gz").write_bytes(data[:-12])
    with pytest.raises(ValueError, match=r"must be a whole \.gz \("):
        load_word_vectors(tmp_path / "x.txt.gz", TEXTS)


@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"])
def test_words_are_those_of_text_vectorization(standardize):
    texts = ["It's  a GOOD film -- or so.", "so, so?!", 'Ünïcode\tand "quotes"']
    words = load_word_vectors({"a": [1.0], "It's": [2.0], "its": [1.0]}, texts, standardize=standardize).words
    layer = WordInputs(words[:-2], max_length=4, standardize=standardize)
    theirs = np.asarray(layer.vectorization()(np.array(texts, dtype=object)))
    np.testing.assert_array_equal(layer.batch(texts), theirs[:, : layer.batch(texts).shape[1]])
    ids, whole = layer.encode(texts)
    assert [len(one) for one in ids] == np.minimum(whole, 4).tolist()
    assert WordInputs.from_config(layer.get_config()).get_config() == layer.get_config()


def test_the_same_word_twice_is_refused():
    with pytest.raises(ValueError, match=r"must be different words, .* Received: 2 words, 1 different"):
        WordInputs(["a", "a"])


@pytest.fixture(scope="module")
def vectors():
    """Vectors in which good and bad words lie apart."""
    rng = np.random.default_rng(0)
    words = {f"good{i}": rng.normal(1, 0.3, 8) for i in range(20)} | {
        f"bad{i}": rng.normal(-1, 0.3, 8) for i in range(20)
    }
    return load_word_vectors(words, vocabulary=[*words, "the"])


def sentences(kind, count, seed, among=20):
    rng = np.random.default_rng(seed)
    return [
        " ".join(f"{kind}{i}" for i in rng.integers(0, among, 3)) + " the" * rng.integers(0, 5) for _ in range(count)
    ]


@pytest.mark.slow
def test_the_lstm_learns_from_what_the_vectors_know(vectors, tmp_path):
    """Trained on few of the words, it knows the others by their vectors."""
    model = build_lstm_classifier(vectors, 2, units=8, max_length=10, dropout=0.1)
    assert [layer.name for layer in model.layers] == ["token_ids", "preprocessing", "backbone", "pooling", "head"]
    assert {path for path, _ in select(model, "backbone/embedding")} == {"backbone/embedding"}
    few, rest = ([*sentences("good", 24, seed, n), *sentences("bad", 24, seed, n)] for seed, n in ((0, 3), (1, 20)))
    y = np.repeat([0, 1], 24)
    batch = model.get_layer("preprocessing").batch
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    table = model.get_layer("backbone").get_layer("embedding").get_weights()[0]
    np.testing.assert_array_equal(table, vectors.matrix)
    model.fit(batch(few), y, epochs=15, verbose=0)
    np.testing.assert_array_equal(model.get_layer("backbone").get_layer("embedding").get_weights()[0], table)
    assert model.evaluate(batch(rest), y, verbose=0)[1] > 0.95
    again = load(save(model, tmp_path / "m.keras"))
    np.testing.assert_array_equal(again.predict(batch(rest), verbose=0), model.predict(batch(rest), verbose=0))
    assert len(again.trainable_weights) == len(model.trainable_weights)


def test_padding_changes_nothing_and_vectors_may_train(vectors):
    model = build_lstm_classifier(vectors, 3, units=4, trainable=True, hidden=5)
    assert model.get_layer("backbone").get_layer("embedding").trainable
    ids = model.get_layer("preprocessing").batch(["good1 bad2"])
    np.testing.assert_allclose(
        model.predict(ids, verbose=0), model.predict(np.pad(ids, ((0, 0), (0, 6))), verbose=0), atol=1e-5
    )
    assert model.output_shape == (None, 3)


def test_what_an_lstm_needs(vectors):
    with pytest.raises(TypeError, match=r"`vectors` must be what load_word_vectors gives\. Received: dict"):
        build_lstm_classifier(VECTORS, 2)
    with pytest.raises(ValueError, match=r"`units` must be a whole number of at least 1\. Received: 0"):
        build_lstm_classifier(vectors, 2, units=0)


@pytest.mark.slow
def test_it_takes_a_file_of_texts_and_a_strategy(vectors, tmp_path):
    rows = [
        *(f"{one}\tgood" for one in sentences("good", 100, 2)),
        *(f"{one}\tbad" for one in sentences("bad", 100, 3)),
    ]
    (tmp_path / "texts.tsv").write_text("text\tlabel\n" + "\n".join(dict.fromkeys(rows)) + "\n")
    data = load_texts(tmp_path / "texts.tsv", text_columns="text", label_column="label")
    model = build_lstm_classifier(vectors, 2, units=8, max_length=10)
    history = full(model, data, epochs=3, learning_rate=0.01, verbose=0)
    assert max(history.history["val_accuracy"]) > 0.9


def test_a_transformer_from_scratch():
    texts = [*sentences("good", 40, 0), *sentences("bad", 40, 1)]
    words = learn_vocabulary(texts, 60)
    assert words[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    model = build_transformer_classifier(texts, 2, layers=1, width=16, vocabulary_size=60, max_length=12)
    assert [layer.name for layer in model.layers] == ["token_ids", "preprocessing", "backbone", "pooling", "head"]
    backbone = model.get_layer("backbone")
    assert (backbone.num_layers, backbone.hidden_dim, backbone.vocabulary_size) == (1, 16, len(words))
    assert not model.non_trainable_weights
    ids, _ = model.get_layer("preprocessing").encode(["good1 the"])
    assert ids[0][0] == 2
    assert ids[0][-1] == 3
    with pytest.raises(ValueError, match=r"`width` must be a multiple of `heads`\. Received: width=10, heads=4"):
        build_transformer_classifier(texts, 2, width=10, heads=4)
    with pytest.raises(ValueError, match=r"at least one text to learn words from\. Received: none"):
        learn_vocabulary([""])


@pytest.mark.slow
def test_real_vectors_on_real_sentences(data_root):
    """The word table of MiniLM as pretrained vectors: most words of SST-2 have one, and the LSTM learns from them."""
    with h5py.File(data_root / "text_minilm/all_minilm_l6_v2.bert_backbone.weights.h5") as file:
        found = []
        file.visititems(lambda _, one: found.append(one) if getattr(one, "shape", ()) == (30522, 384) else None)
        table = found[0][:].astype("float32")
    words = (data_root / "text_minilm/vocab.txt").read_text(encoding="utf-8").split("\n")[:30522]
    with gzip.open(data_root / "text/sst2_train.tsv.gz", "rt", encoding="utf-8") as file:
        rows = file.read().splitlines()[:2400]
    keras.utils.set_random_seed(0)
    labels, texts = zip(*(row.split("\t", 1) for row in rows), strict=True)
    y = np.array(labels, int)
    vectors = load_word_vectors((words, table), texts[:2000])
    assert vectors.coverage.found_tokens > 0.8 * vectors.coverage.tokens
    model = build_lstm_classifier(vectors, 2, units=32, max_length=40)
    batch = model.get_layer("preprocessing").batch
    model.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.fit(batch(texts[:2000]), y[:2000], epochs=4, verbose=0)
    accuracy = model.evaluate(batch(texts[2000:]), y[2000:], verbose=0)[1]
    assert accuracy > 0.68, f"{accuracy:.3f}; {vectors.coverage}"


@pytest.mark.slow
def test_on_jax(on_jax):
    script = """
import keras, numpy as np
import keras_transfer as kt
vectors = kt.backbones.load_word_vectors({"good": [1.0, 0.0], "bad": [-1.0, 0.0]}, ["good bad", "bad film"])
model = kt.backbones.build_lstm_classifier(vectors, 2, units=4)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x = model.get_layer("preprocessing").batch(["good film", "bad"])
model.fit(x, np.array([0, 1]), epochs=3, verbose=0)
assert np.isfinite(model.predict(x, verbose=0)).all()
"""
    assert on_jax(script) == "done on JAX"
