"""LoRA against its formula in NumPy, for every kind of layer, and against the paper's count of weights."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report
from keras_transfer.peft.lora_shapes import Linear, split_equation

RANDOM = np.random.default_rng(0)


def around(layer, shape, dtype="float32", **settings):
    """A model of one layer, injected, whose adapter has learned; the layer, and its adapter."""
    x = keras.Input(shape, dtype=dtype)
    model = peft.inject(keras.Model(x, layer(x)), "lora", layer.name, train=None, rank=3, **settings)
    (injection,) = model.injections
    for one in model.trainable_variables:
        one.assign(RANDOM.normal(size=one.shape))
    return model, layer, injection.adapters["default"]


def values(*variables):
    return [keras.ops.convert_to_numpy(one) for one in variables]


@pytest.mark.parametrize(("settings", "scale"), [({"alpha": 6}, 2.0), ({"alpha": 6, "rslora": True}, 6 / np.sqrt(3))])
def test_dense_is_the_papers_formula(settings, scale):
    """Hu et al., eq. 3, inside the activation; Kalajdzievski's scale."""
    model, layer, adapter = around(keras.layers.Dense(5, activation="tanh", name="d"), (4,), **settings)
    x = RANDOM.normal(size=(2, 4)).astype("float32")
    w, b, down, up = values(layer.kernel, layer.bias, adapter.lora_a, adapter.lora_b)
    expected = np.tanh(x @ w + b + scale * (x @ down) @ up)
    np.testing.assert_allclose(model(x), expected, atol=1e-5)
    merged = peft.merge(model)
    np.testing.assert_allclose(merged.layers[-1].kernel, w + scale * down @ up, atol=1e-5)
    assert merged.layers[-1].activation is keras.activations.tanh
    np.testing.assert_allclose(merged(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "x", "kernel", "count"),
    [  # what Keras and keras-hub have, an input and an output axis each time, and the weights at rank 3
        ("abc,cde->abde", (2, 5, 4), (4, 3, 2), 3 * (4 + 6)),
        ("abcd,cde->abe", (2, 5, 3, 2), (3, 2, 4), 3 * (6 + 4)),
        ("abc,cd->abd", (2, 5, 4), (4, 6), 3 * 10),
        ("bqm,muh->bquh", (2, 5, 4), (4, 3, 2), 3 * (4 + 6)),
        ("bquh,uhm->bqm", (2, 5, 3, 2), (3, 2, 4), 3 * (6 + 4)),
        ("btd,ndh->btnh", (2, 5, 4), (3, 4, 2), 3 * (4 + 6)),  # Gemma: the input's axis is in the middle
        ("btd,dnh->btnh", (2, 5, 4), (4, 3, 2), 3 * (4 + 6)),
        ("btnh,nhd->btd", (2, 5, 3, 2), (3, 2, 4), 3 * (6 + 4)),
        ("...c,cde->...de", (2, 5, 4), (4, 3, 2), 3 * (4 + 6)),
        ("...x,xy->...y", (2, 4), (4, 6), 3 * 10),
        ("eti,eih->eth", (3, 5, 4), (3, 4, 2), 3 * (3 * 4 + 3 * 2)),  # experts: a pair of matrices each
        ("ab,bc->ac", (2, 4), (4, 6), 3 * 10),
    ],
)
def test_every_equation_is_a_sum_of_rank_r(equation, x, kernel, count):
    """`(x A) B` is x times the kernel that A B makes, by the layer's own equation; each rank counts once."""
    form = Linear(SimpleNamespace(equation=equation, kernel_shape=kernel))
    down, up = (RANDOM.normal(size=shape) for shape in form.shapes(3))
    assert down.size + up.size == count
    x = RANDOM.normal(size=x)
    product = form.up(form.down(x, down), up)
    plain = equation.replace("...", "zy"[: x.ndim - 1])
    np.testing.assert_allclose(product, np.einsum(plain, x, form.delta(down, up)), atol=1e-5)


def test_heads_count_as_one_matrix():
    """The built-in LoRA gives a query kernel (768, 12, 64) 74,240 weights at rank 8; the paper has 8 (768 + 768)."""
    layer = keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 12, 64))
    layer.build((None, None, 768))
    assert sum(int(np.prod(shape)) for shape in Linear(layer).shapes(8)) == 12_288


@pytest.mark.parametrize("equation", ["ab,cb->ab", "ab,a->ab", "ab,bcd->ac"])
def test_an_equation_without_a_rank_is_refused(equation):
    with pytest.raises(ValueError, match="axes that are summed over"):
        split_equation(equation)


def test_embedding_adds_rows():
    model, layer, adapter = around(keras.layers.Embedding(9, 4, mask_zero=True, name="e"), (5,), "int32", alpha=3)
    words = np.array([[1, 2, 3, 0, 8]])
    table, down, up = values(layer.embeddings, adapter.lora_a, adapter.lora_b)
    expected = table[words] + down[words] @ up
    np.testing.assert_allclose(model(words), expected, atol=1e-5)
    np.testing.assert_allclose(peft.merge(model)(words), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Conv2D(5, 3, strides=2, activation="relu", name="c"), (9, 9, 4)),
        (keras.layers.Conv2D(5, (3, 2), dilation_rate=2, padding="same", name="c"), (9, 9, 4)),
        (keras.layers.Conv1D(5, 3, padding="causal", dilation_rate=2, name="c"), (9, 4)),
        (keras.layers.Conv1D(5, 4, strides=3, use_bias=False, name="c"), (9, 4)),
    ],
)
def test_a_convolution_is_one_with_the_sum_of_the_kernels(layer, shape):
    """Convolution is linear in its kernel: A's window times B's channels, in NumPy, is what merging adds."""
    model, layer, adapter = around(layer, shape, alpha=6)
    kernel, down, up = values(layer.kernel, adapter.lora_a, adapter.lora_b)
    whole = kernel + 2 * np.tensordot(down, up.reshape(up.shape[-2:]), axes=([-1], [0]))
    x = RANDOM.normal(size=(2, *shape)).astype("float32")
    before = keras.ops.convert_to_numpy(model(x))
    layer = peft.merge(model).layers[-1]
    np.testing.assert_allclose(layer.kernel, whole, atol=1e-5)
    np.testing.assert_allclose(layer(x), before, atol=1e-4)


def test_a_grouped_convolution_is_refused_and_the_model_unharmed():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, keras.layers.Conv2D(4, 3, groups=2, activation="relu", name="c")(x))
    with pytest.raises(ValueError, match=r"grouped ones out of `where`.*groups=2"):
        peft.inject(model, "lora", "c", train=None)
    assert model.layers[-1].name == "c"
    assert not isinstance(model.layers[-1], peft.Injection)
    assert model.layers[-1].activation is keras.activations.relu
    assert model.trainable_variables


def test_dropout_falls_on_the_input_of_a_only():
    """In training the base's part is whole, and what A sees is dropped and scaled; at inference nothing is."""
    keras.utils.set_random_seed(1)
    model, layer, adapter = around(keras.layers.Dense(4, use_bias=False, name="d"), (4,), alpha=3, dropout=0.5)
    x = np.ones((1, 4), "float32")
    w, down, up = values(layer.kernel, adapter.lora_a, adapter.lora_b)
    seen = [np.array(one) for one in np.ndindex(2, 2, 2, 2)]  # which elements were kept
    possible = [x @ w + (2 * x * kept) @ down @ up for kept in seen]
    found = [keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(6)]
    for one in found:
        assert min(np.abs(one - each).max() for each in possible) < 1e-5
    assert any(np.abs(one - found[0]).max() > 1e-3 for one in found)
    np.testing.assert_allclose(model(x), x @ w + x @ down @ up, atol=1e-5)


@pytest.mark.parametrize(("bias", "names"), [("lora_only", ["first"]), ("all", ["first", "norm", "last"])])
def test_biases_move_as_differences(bias, names):
    x = keras.Input((4,))
    h = keras.layers.Dense(3, activation="relu", name="first")(x)
    h = keras.layers.LayerNormalization(name="norm")(h)
    model = keras.Model(x, keras.layers.Dense(2, name="last")(h))
    start = [keras.ops.convert_to_numpy(one) for one in model.weights]
    model = peft.inject(model, "lora", "first", bias=bias, rank=2, train=None)
    biases = [one for one in model.trainable_variables if one.path.endswith("/bias")]
    assert [one.path for one in biases] == [f"{name}/default/bias" for name in names]
    data = RANDOM.normal(size=(8, 4)).astype("float32")
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)
    model.fit(data, np.ones((8, 2)), verbose=0)
    assert all(np.abs(one).max() > 0 for one in values(*biases[-1:]))
    before, moved = keras.ops.convert_to_numpy(model(data)), values(biases[-1])[0]
    merged = peft.merge(model)
    np.testing.assert_allclose(merged(data), before, atol=1e-5)
    last = merged.get_layer(names[-1])
    np.testing.assert_allclose(
        last.bias if hasattr(last, "bias") else last.beta, start[-1 if bias == "all" else 1] + moved, atol=1e-6
    )


def test_bitfit_moves_biases_and_nothing_else(tiny):
    base = tiny.bert()
    count = sum(int(np.prod(one.shape)) for one in base.weights if one.name in ("bias", "beta"))
    model = peft.inject(base, "bitfit")
    assert sum(int(np.prod(one.shape)) for one in model.trainable_variables) == count > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 0}, r"`rank` must be a whole number of at least 1\. Received: 0"),
        ({"rank": 2.0}, "`rank` must be a whole number"),
        ({"alpha": 0}, "`alpha` must be a number above 0"),
        ({"alpha": float("nan")}, "`alpha` must be a number"),
        ({"dropout": 1.0}, "`dropout` must be a number at least 0, below 1"),
        ({"bias": "some"}, "'none', 'lora_only' or 'all'"),
        ({"rang": 4}, r"Did you mean 'rank'\? Received: 'rang'"),
    ],
)
def test_a_wrong_setting_is_told_and_the_model_unharmed(tiny, settings, said):
    model = tiny.dense()
    with pytest.raises(ValueError, match=said):
        peft.inject(model, "lora", "first", **settings)
    assert not [one for one in model.layers if isinstance(one, peft.Injection)]
    assert len(model.trainable_variables) == 4


def test_a_starts_as_in_hf_peft():
    """Kaiming-uniform with a = sqrt(5) is a uniform within 1 / sqrt(fan-in); B is zero."""
    x = keras.Input((400,))
    model = peft.inject(keras.Model(x, keras.layers.Dense(8, name="d")(x)), "lora", "d", rank=64, train=None)
    down, up = values(*model.trainable_variables)
    assert not up.any()
    assert 0.049 < np.abs(down).max() <= 0.05
    np.testing.assert_allclose(down.std(), 0.05 / np.sqrt(3), rtol=0.02)


@pytest.mark.slow
def test_the_papers_count_on_bert_base(tiny):
    """12 layers x (query, value) x 8 x (768 + 768) = 294,912, beside 109,482,240."""
    model = tiny.hub().BertBackbone(
        vocabulary_size=30_522, num_layers=12, num_heads=12, hidden_dim=768, intermediate_dim=3072
    )
    model = peft.inject(model, "lora", rank=8)
    line = "trainable params: 294,912 || all params: 109,777,152 || trainable%: 0.2686"
    assert trainable_report(model).line == line


def test_the_papers_count_at_bert_base_widths(tiny):
    """The same count in the fast suite: one of the twelve layers, small where LoRA does not look."""
    sizes = {"vocabulary_size": 60, "num_layers": 1, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 8}
    model = tiny.hub().BertBackbone(**sizes, max_sequence_length=8)
    total = model.count_params()
    report = trainable_report(peft.inject(model, "lora", rank=8))
    assert 12 * report.trainable == 294_912
    assert report.total == total + report.trainable  # switches and the like are no weights


def test_it_learns_what_has_its_rank():
    """A kernel that differs from the base's by rank 2 is found by rank 2, and by rank 1 only up to the second direction."""
    keras.utils.set_random_seed(0)
    x = RANDOM.normal(size=(256, 12)).astype("float32")
    left, right = np.linalg.qr(RANDOM.normal(size=(12, 2)))[0], np.linalg.qr(RANDOM.normal(size=(8, 2)))[0]
    away = left @ np.diag([2.0, 1.0]) @ right.T  # singular values 2 and 1
    losses = {}
    for rank in (1, 2):
        pixels = keras.Input((12,))
        layer = keras.layers.Dense(8, name="d")
        model = keras.Model(pixels, layer(pixels))
        y = keras.ops.convert_to_numpy(model(x)) + x @ away
        model = peft.inject(model, "lora", "d", rank=rank, alpha=rank, train=None)
        model.compile(keras.optimizers.Adam(0.03), "mse")
        steps = (np.tile(one, (200, 1)) for one in (x, y))  # one epoch of 200 steps over all of it
        model.fit(*steps, batch_size=256, shuffle=False, verbose=0)
        losses[rank] = model.evaluate(x, y, batch_size=256, verbose=0)
    assert losses[2] < 1e-3
    assert losses[1] == pytest.approx(np.square(x @ left[:, 1]).mean() / 8, rel=0.2)  # what Eckart and Young leave


@pytest.mark.slow
def test_sst2_is_learned_by_a_few_weights(data_root, tiny):
    """MiniLM, 600 real sentences, rank 8 on every product but the head: better than the head alone by five points."""
    import gzip

    hub = tiny.hub()
    root = data_root / "text_minilm"

    def read(name, count):
        with gzip.open(data_root / "text" / name, "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file][:count]
        reader = hub.BertTextClassifierPreprocessor(tokenizer, sequence_length=48)
        tokens = reader(np.array([text for _, text in rows], dtype=object))
        return {key: np.asarray(value, "int32") for key, value in tokens.items()}, np.array(
            [int(row[0]) for row in rows]
        )

    tokenizer = hub.BertTokenizer(vocabulary=str(root / "vocab.txt"), lowercase=True, strip_accents=True)
    train, dev = read("sst2_train.tsv.gz", 600), read("sst2_dev.tsv.gz", 300)
    accuracy = {}
    for where in (None, "all-linear"):
        keras.utils.set_random_seed(0)
        sizes = {"num_layers": 6, "num_heads": 12, "hidden_dim": 384, "intermediate_dim": 1536}
        backbone = hub.BertBackbone(vocabulary_size=30_522, max_sequence_length=512, **sizes)
        backbone.load_weights(root / "all_minilm_l6_v2.bert_backbone.weights.h5")
        model = hub.BertTextClassifier(backbone, num_classes=2, preprocessor=None)
        if where is None:
            backbone.trainable = False
        else:
            model = peft.inject(model, "lora", where, rank=8)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=["accuracy"])
        model.fit(*train, batch_size=32, epochs=2, verbose=0)
        accuracy[where] = model.evaluate(*dev, verbose=0)[1]
    assert accuracy["all-linear"] > 0.75
    assert accuracy["all-linear"] > accuracy[None] + 0.05
