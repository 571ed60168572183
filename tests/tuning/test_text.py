"""Fine-tuning of text encoders: its rates, decay and warm-up, and the strategies on texts."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
import keras_transfer.fewshot
from keras_transfer.core.rate_report import rate_report
from keras_transfer.core.registry import get, registered
from keras_transfer.core.surgery import walk
from keras_transfer.data import TextData
from keras_transfer.tuning import fit_stages, full, lr_find, partial, recipe, text_optimizer, text_stage
from keras_transfer.tuning.stage import optimizer_for


@pytest.fixture(scope="module")
def data(reviews):
    return TextData.from_arrays(*reviews, batch_size=8)


def values(model):
    return {one.path: np.array(one) for one in model.weights}


def moved(model, before):
    return {path for path, value in values(model).items() if not np.array_equal(before[path], value)}


@pytest.mark.parametrize(
    ("rate", "multiplier"), [(2e-5, 50.0), (1e-4, 10.0), (1e-3, 1.0), (np.float32(1e-3), 1.0), (1e-2, 1.0), (1, 1.0)]
)
def test_the_head_has_its_own_rate_or_the_encoders_where_that_is_higher(text_classifier, rate, multiplier):
    """Not fifty times whatever the encoder is given: at 1e-3 that would be 0.05."""
    model = kt.unfreeze(text_classifier())
    stage = text_stage(model, learning_rate=rate)
    assert f"head={multiplier:g})" in stage.optimizer.__qualname__
    found = {
        row["variable"].startswith("head/"): row["multiplier"]
        for row in rate_report(optimizer_for(stage, model, 10), model).rows
    }
    assert found == {True: pytest.approx(multiplier), False: 1.0}


def test_the_stage_has_the_rates_the_decay_and_the_warm_up_of_bert(text_classifier):
    """Number: 2e-5 and 1e-3 at the peak, linear from 0 in a tenth of the steps and to 0; what decays and what does not."""
    model = kt.unfreeze(text_classifier())
    stage = text_stage(model)
    assert (stage.epochs, stage.schedule, stage.rate) == (3, "warmup_linear", 2e-5)
    optimizer = optimizer_for(stage, model, 100)
    assert optimizer.global_clipnorm == 1.0
    schedule = optimizer._learning_rate
    for step, rate in ((0, 0.0), (15, 1e-5), (30, 2e-5), (165, 1e-5), (300, 0.0)):
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-11)
    for row in rate_report(optimizer, model).rows:
        head = row["variable"].startswith("head/")
        spared = row["variable"].endswith("bias") or "norm" in row["variable"]
        assert row["multiplier"] == (50.0 if head else 1.0), row
        assert bool(row["weight_decay"]) == (not spared), row
    assert np.mean([row["weight_decay"] > 0 for row in rate_report(optimizer, model).rows]) > 0.3


def test_a_step_of_the_optimizer_is_the_papers():
    """Number: AdamW by its formula, on a gradient longer than the clip norm, in the encoder and in the head."""
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2, name="backbone")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(x))
    rng = np.random.default_rng(0)
    start = [rng.normal(size=one.shape).astype("float32") for one in model.trainable_variables]
    model.set_weights(start)
    gradients = [10 * rng.normal(size=one.shape).astype("float32") for one in start]
    optimizer = text_optimizer(model, head=50.0, weight_decay=0.1)(1e-3)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients])
    norm = np.sqrt(sum((one**2).sum() for one in gradients))
    for place, (value, gradient, variable) in enumerate(zip(start, gradients, model.trainable_variables, strict=True)):
        rate = 1e-3 * (50.0 if place >= 2 else 1.0)
        decay = 0.1 if place % 2 == 0 else 0.0  # kernel, bias
        g = gradient / norm
        m, v = 0.1 * g / 0.1, 0.001 * g**2 / 0.001
        wanted = value - rate * decay * value - rate * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(np.array(variable), wanted, rtol=2e-4, atol=1e-6)


@pytest.mark.slow
def test_partial_trains_the_head_then_the_last_layer_and_full_everything(text_classifier, data):
    model = text_classifier(pooling="mean")
    before = values(model)
    history = partial(model, data, epochs=1, head_epochs=1, keep="last", verbose=0)
    assert [one["name"] for one in history.stages] == ["head", "last layer"]
    assert [one["learning_rate"] for one in history.stages] == [1e-3, pytest.approx(2e-5)]
    paths = moved(model, before)
    assert any("transformer_layer_1" in path for path in paths)
    assert all("transformer_layer_1" in path or "head" in path or "logits" in path for path in paths), paths
    before = values(model)
    history = full(model, data, epochs=1, keep="last", verbose=0)
    still = before.keys() - moved(model, before)
    # the key's bias changes no softmax: its gradient is rounding alone
    assert {path for path in still if "pooled_dense" not in path and "key/bias" not in path} == set()
    assert len([path for path in still if "pooled_dense" in path]) == 2
    assert [(one["name"], one["learning_rate"]) for one in history.stages] == [("train", 2e-5)]


@pytest.mark.slow
def test_a_partly_trained_model_comes_back_with_its_optimizer_and_words(text_classifier, data, tmp_path):
    """Law: what is frozen inside the encoder, the rates, the moments and the vocabulary are in the file."""
    model = text_classifier(pooling="mean")
    partial(model, data, epochs=1, head_epochs=1, keep="last", verbose=0)
    kt.save(model, tmp_path / "m.keras")
    again = kt.load(tmp_path / "m.keras")
    assert kt.trainable_report(again).line == kt.trainable_report(model).line
    theirs, ours = (one.optimizer.variables for one in (again, model))
    assert len(theirs) == len(ours) > 20
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))
    rates = [[row["multiplier"] for row in rate_report(one.optimizer, one).rows] for one in (again, model)]
    assert rates[0] == rates[1]
    x, y = data.for_model(again).splits["train"].gather(np.arange(8))
    for one in (model, again):
        one.train_on_batch(x, y)
    assert kt.evaluate(again, data).accuracy == kt.evaluate(model, data).accuracy


@pytest.mark.slow
def test_an_interrupted_training_goes_on_exactly(text_classifier, data, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(**settings):
        model = text_classifier(pooling="mean")
        partial(model, data, epochs=3, head_epochs=2, verbose=0, keep="last", **settings)
        return model.get_weights()

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tmp_path / "c", callbacks=[Stop()])
    for one, other in zip(whole, run(checkpoint=tmp_path / "c", resume=True), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_recipe_and_a_model_from_scratch(text_classifier, data):
    stages = recipe(text_classifier(), epochs=2, learning_rate=2e-3)
    assert [(one.name, one.epochs, one.rate) for one in stages] == [
        ("head", 3, 2e-3), ("last layer", 2, pytest.approx(4e-5)), ("all", 2, pytest.approx(4e-5))
    ]  # fmt: skip
    assert recipe(text_classifier(), schedule="cosine")[2].schedule == "cosine"
    model = text_classifier(weights=None, layers=1)
    history = full(model, data, epochs=1, verbose=0)
    assert history.stages[0]["learning_rate"] == 5e-4
    with pytest.raises(ValueError, match="Nothing in the model is frozen"):
        partial(model, data)
    with pytest.raises(TypeError, match="a number"):
        partial(text_classifier(layers=1), data, learning_rate="high")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("feature_extraction", "layerwise", "progressive")]


@pytest.mark.parametrize("name", ["linear_probe", "nearest_mean", *SLOW])
def test_every_strategy_takes_texts(text_classifier, data, name):
    assert name in registered("strategy")
    model = text_classifier(pooling="mean")
    before = values(model)
    solved = name in ("linear_probe", "nearest_mean")
    shorter = {"epochs": 1} if name in ("layerwise", "progressive") else {"epochs": 30}
    settings = {} if solved else {**shorter, **({"head_epochs": 1} if name in ("layerwise", "progressive") else {})}
    history = get("strategy", name)(model, data, verbose=0, **settings)
    assert np.isfinite(history.history["val_loss"]).all()
    if name in ("feature_extraction", "linear_probe", "nearest_mean"):
        assert all("logits" in path for path in moved(model, before))
    if name == "linear_probe":
        assert history.history["val_accuracy"][0] >= 0.9
    x, y = data.tokenized(model).splits["validation"].gather([0, 1, 2])
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()


@pytest.mark.slow
def test_batches_that_differ_in_length_reach_keras_in_order(text_classifier, data):
    """Law: SGD over batches as long as their longest text is SGD over batches of one length."""
    weights = []
    for same in (False, True):
        model = text_classifier(weights=None, layers=1, dropout=0.0)
        for layer in walk(model):
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        split = data.tokenized(model).splits["train"]
        stage = kt.tuning.Stage("train", None, 2, 0.1, optimizer=keras.optimizers.SGD)
        fit_stages(model, [stage], split.of_one_length() if same else split, batch_size=3, verbose=0, keep="last")
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    assert {split.gather([index])[0].shape[1] for index in range(len(split))} == {8, 16}


def test_the_rate_finder_takes_texts(text_classifier, data):
    model = text_classifier(layers=1)
    before = values(model)
    found = lr_find(model, data, steps=10, show_progress=False)
    assert len(found.losses) >= 5
    assert not moved(model, before)


def test_words_instead_of_tokens_are_refused(text_classifier, data):
    model = text_classifier(layers=1, words=None)
    with pytest.raises(ValueError, match="has no tokenizer"):
        full(model, data, verbose=0)


@pytest.mark.slow
def test_minilm_on_four_hundred_sentences_beats_chance(data_root):
    """Effect: SST-2, 400 sentences to train, 300 to judge: the probe and the last layer beat 0.5 by far."""
    from keras_transfer.backbones import build_text_classifier
    from keras_transfer.data import load_texts

    read = load_texts(data_root / "text" / "sst2_train.tsv.gz", class_names=["negative", "positive"])
    train, held = (read.splits[name] for name in ("train", "validation"))
    data = TextData.from_arrays(train.texts[:400], train.y[:400], validation=(held.texts[:300], held.y[:300]))
    folder = data_root / "text_minilm"
    reached = {}
    for name, settings in (("linear_probe", {}), ("partial", {"learning_rate": 5e-3})):
        keras.utils.set_random_seed(0)
        model = build_text_classifier(
            "minilm_l6", 2, weights=folder / "all_minilm_l6_v2.bert_backbone.weights.h5",
            vocabulary=folder / "vocab.txt", max_length=48, pooling="mean",
        )  # fmt: skip
        history = get("strategy", name)(model, data, verbose=0, **settings)
        reached[name] = max(history.history["val_accuracy"])
    assert min(reached.values()) > 0.7, reached


ON_JAX = """
import numpy as np, keras, keras_hub
from keras_transfer.backbones import build_text_classifier
from keras_transfer.data import TextData
from keras_transfer.tuning import fit_stages, linear_probe, text_stage
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "b", "c"]
backbone = keras_hub.models.BertBackbone(60, 2, 2, 16, 32, max_sequence_length=16)
model = build_text_classifier(backbone, 2, vocabulary=words, max_length=8, pooling="mean")
texts = [f"{a} {b} film {c}" for a in "abc" for b in ("good", "bad") for c in ("a b", "a b c a b c", "c")]
data = TextData.from_arrays(texts, [int("good" in text) for text in texts], batch_size=4)
history = linear_probe(model, data, verbose=0)
history = fit_stages(model, [text_stage(model, ["head", "top:1"], epochs=2)], data, verbose=0)
assert np.isfinite(history.history["loss"]).all()
"""


@pytest.mark.slow
def test_on_jax(on_jax):
    assert on_jax(ON_JAX) == "done on JAX"


TWO_REPLICAS = """
import keras_hub, keras_transfer as kt
from keras_transfer.data import TextData
from keras_transfer.tuning import fit_stages, Stage
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "b", "c"]
texts = [f"{a} {b} film {c}" for a in "abc" for b in ("good", "bad") for c in ("a b", "a b c a b c", "c")]
weights = []
for strategy in (kt.strategy(["CPU:0"]), kt.strategy(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        backbone = keras_hub.models.BertBackbone(60, 2, 2, 16, 32, dropout=0.0, max_sequence_length=16)
        model = kt.backbones.build_text_classifier(backbone, 2, vocabulary=words, max_length=12, pooling="mean", dropout=0.0)
    data = TextData.from_arrays(texts, [int("good" in text) for text in texts], batch_size=4)
    stages = [Stage(name, where, 2, 0.1, optimizer=keras.optimizers.SGD) for name, where in
              (("head", "head"), ("last", ["head", "top:1"]), ("all", None))]
    fit_stages(model, stages, data, keep="last", verbose=0)
    weights.append(model.get_weights())
print(max(float(abs(a - b).max()) for a, b in zip(*weights)))
"""


@pytest.mark.distributed
def test_two_replicas_train_as_one(two_devices):
    assert float(two_devices(TWO_REPLICAS)) < 2e-6
