"""The injected model in files and in use: it reloads alive, goes on exactly, and does what its base did."""

import copy
import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import freeze, freeze_plan
from keras_transfer.core.saving import load, save
from keras_transfer.peft.places import places

LABELS = np.array([0, 1, 2, 0])


def trained(model, x, y=LABELS, **settings):
    """One epoch, not traced."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=True)
    model.fit(x, y, verbose=0, **settings)
    return model


@pytest.fixture(scope="module")
def fitted(tiny):
    """A model with dropout in the base and in the adapters that has trained, and what it was made of."""
    keras.utils.set_random_seed(0)
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, dropout=0.3, alpha=8)
    return trained(model, tiny.PIXELS)


@pytest.mark.parametrize(("write", "read"), [(save, load), (save, keras.models.load_model), (keras.Model.save, load)])
def test_a_file_goes_on_exactly(fitted, tiny, tmp_path, write, read):
    """Weights, what trains, the optimizer's state, and the random numbers of dropout."""
    write(fitted, tmp_path / "m.keras")
    again = read(tmp_path / "m.keras")
    assert type(again) is type(fitted)
    assert freeze_plan(again) == freeze_plan(fitted)
    np.testing.assert_array_equal(tiny.answer(again, tiny.PIXELS), tiny.answer(fitted, tiny.PIXELS))
    write(fitted, tmp_path / "before.keras")
    for model in (fitted, again):
        model.fit(tiny.PIXELS, LABELS, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(tiny.answer(again, tiny.PIXELS), tiny.answer(fitted, tiny.PIXELS))
    for here, there in zip(fitted.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(here), keras.ops.convert_to_numpy(there))


def test_the_file_holds_the_base_as_it_was_and_no_path(fitted, tmp_path):
    save(fitted, tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert config["registered_name"] == "keras_transfer>Injected"
    inside = config["config"]
    assert "LoRA" not in json.dumps(inside["base"])
    assert inside["base"]["class_name"] == "Functional"
    settings = {"rank": 2, "alpha": 8, "dropout": 0.3, "rslora": False, "bias": "none"}
    assert inside["injections"] == [{"path": "first", "method": "lora", "adapters": {"default": settings}}]
    assert str(tmp_path) not in json.dumps(config)


@pytest.mark.parametrize("change", [{"rank": 10**9}, {"rang": 2}])
def test_a_file_with_a_wrong_setting_is_refused(fitted, tmp_path, change):
    save(fitted, tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["injections"][0]["adapters"]["default"] |= change
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "wrong.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(Exception, match=r"'rang'|`rank` must be at most 64"):
        keras.models.load_model(tmp_path / "wrong.keras")


FRESH = """
import sys
import numpy as np
import keras
import keras_transfer

model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
before = model.predict(data["x"], verbose=0)
assert np.array_equal(before, data["before"]), np.abs(before - data["before"]).max()
model.fit(data["x"], data["y"], shuffle=False, verbose=0)
print(np.abs(model.predict(data["x"], verbose=0) - data["after"]).max())
"""


@pytest.mark.slow
def test_a_fresh_process_loads_it_by_keras_alone_and_goes_on(tiny, tmp_path):
    keras.utils.set_random_seed(0)
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, dropout=0.3)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(tiny.PIXELS, LABELS, verbose=0)
    before = model.predict(tiny.PIXELS, verbose=0)
    model.save(tmp_path / "m.keras")
    model.fit(tiny.PIXELS, LABELS, shuffle=False, verbose=0)
    after = model.predict(tiny.PIXELS, verbose=0)
    np.savez(tmp_path / "data.npz", x=tiny.PIXELS, y=LABELS, before=before, after=after)
    command = [sys.executable, "-c", FRESH, str(tmp_path / "m.keras"), str(tmp_path / "data.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) == 0


def test_composite_layers_stay_frozen_as_they_were(tiny, tmp_path):
    """Keras' own files forget what is frozen in attentions; ours do not, by our loader or Keras'."""
    model = peft.inject(tiny.vit_classifier(), "lora", rank=2)
    freeze(model, model.injections[0].adapters["default"])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    paths = [one.path for one in model.trainable_variables]
    assert [one.path for one in again.trainable_variables] == paths
    assert len(paths) == 2 * 4 - 2 + 2


def test_state_that_is_no_weight_is_not_counted(tiny):
    from keras_transfer.core.freezing import trainable_report

    model = tiny.dense()
    total = model.count_params()
    model = peft.inject(model, "lora", "first", rank=2)
    report = trainable_report(model)
    assert report.total == total + 2 * (48 + 12)
    assert sum(row["params"] for row in report.rows) == report.total


@pytest.mark.parametrize("compiled", [True, False])
def test_it_is_compiled_as_the_base_was(tiny, compiled):
    model = tiny.dense()
    if compiled:
        trained(model, tiny.PIXELS)
    injected = peft.inject(model, "lora", "first", rank=2)
    assert injected.compiled is compiled
    if compiled:
        assert injected.optimizer is not None
        assert int(injected.optimizer.iterations) == 0
        assert float(injected.optimizer.learning_rate) == pytest.approx(1e-2)
        injected.fit(tiny.PIXELS, LABELS, verbose=0)
        base = peft.eject(injected)
        base.fit(tiny.PIXELS, LABELS, verbose=0)  # with a new optimizer of its own


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]


@pytest.mark.slow
def test_a_task_reads_strings_as_before(tiny, tmp_path):
    hub = tiny.hub()
    reader = hub.BertTextClassifierPreprocessor(hub.BertTokenizer(vocabulary=WORDS), sequence_length=6)
    task = hub.BertTextClassifier(tiny.bert(vocabulary_size=8, num_layers=1), num_classes=2, preprocessor=reader)
    texts, labels = np.array(["good film", "bad film"] * 3, dtype=object), np.array([1, 0] * 3)
    task.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)  # the loss is the task's own
    before = task.predict(texts, verbose=0)
    model = peft.inject(task, "lora", rank=2)
    np.testing.assert_allclose(model.predict(texts, verbose=0), before, atol=1e-5)
    assert model.preprocessor is reader
    assert model.backbone is task.backbone
    history = model.fit(texts, labels, validation_data=(texts, labels), verbose=0).history
    assert history["loss"][0] > 0
    assert "val_sparse_categorical_accuracy" in history
    save(model, tmp_path / "m.keras")
    again = load(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(texts, verbose=0), model.predict(texts, verbose=0))
    assert again.preprocessor.tokenizer.get_vocabulary() == WORDS
    assert isinstance(peft.merge(again), hub.BertTextClassifier)


@pytest.mark.slow
def test_generate_follows_the_adapters(tiny):
    hub = tiny.hub()
    keras.utils.set_random_seed(0)  # of some draws the likeliest letters stay what they are
    letters = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    tokenizer = hub.GPT2Tokenizer(vocabulary={**letters, "Ġ": 26, "<|endoftext|>": 27, "ab": 28}, merges=["a b"])
    backbone = hub.GPT2Backbone(**{**tiny.SIZES, "max_sequence_length": 8})
    task = hub.GPT2CausalLM(backbone, hub.GPT2CausalLMPreprocessor(tokenizer, sequence_length=8))
    task.compile(sampler="greedy")
    settings = {"max_length": 8, "stop_token_ids": None}
    before = task.generate("ab", **settings)
    model = peft.inject(task, "lora", "all-linear", rank=2)
    assert model.generate("ab", **settings) == before
    tiny.learn(model, scale=10.0)
    after = model.generate("ab", **settings)
    assert after != before
    with peft.disabled(model):
        assert model.generate("ab", **settings) == before
    model.fit(np.array(["abc", "bcd"], dtype=object), verbose=0)
    assert peft.eject(model).generate("ab", **settings) == before


def test_places_are_paths_of_the_base(tiny):
    model = tiny.vit()
    before = sorted(set(places(model).values()))
    model = peft.inject(peft.inject(model, "lora", rank=2, name="a"), "bitfit", "query", name="b")
    assert sorted(set(places(model).values())) == before
    assert len(model.injections) == 4 + 2


def test_an_unknown_attribute_is_an_attribute_error(fitted):
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fitted.nonsense
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fitted.injections[0].nonsense


@pytest.mark.parametrize("make", ["dense", "sequential", "bert_classifier", "built_classifier"])
def test_a_reloaded_model_is_saved_and_copied_again(tiny, tmp_path, make):
    x, where = tiny.ARCHITECTURES.get(make, tiny.ARCHITECTURES["bert"])[1:]
    model = tiny.learn(peft.inject(getattr(tiny, make)(), "lora", where, rank=2))
    answer = tiny.answer(model, x)
    for name in ("one.keras", "two.keras", "three.keras"):
        save(model, tmp_path / name)
        model = load(tmp_path / name)
        np.testing.assert_array_equal(tiny.answer(model, x), answer)
    np.testing.assert_array_equal(tiny.answer(copy.deepcopy(model), x), answer)
