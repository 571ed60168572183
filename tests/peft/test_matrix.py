"""Being registered is being tested: every method on one architecture, LoRA on each, and with `-m slow` all with all."""

import inspect
import json
import re

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import freeze_plan
from keras_transfer.core.registry import registered
from keras_transfer.core.saving import load, save

METHODS = registered("injection")
EXAMPLES = {  # settings that make a method tiny, or that it cannot do without
    "lora": {"rank": 2},
    "dora": {"rank": 2},
    "houlsby": {"bottleneck": 3},
    "pfeiffer": {"bottleneck": 3},
    "prefix": {"length": 2},
    "prompt": {"length": 2},
}
NAMES = ["bert", "distil_bert", "roberta", "vit", "llama", "dense", "sequential", "built_classifier"]
TRANSFORMERS = NAMES[:5]
ANYWHERE = ("lora", "dora", "bitfit")  # methods that need no transformer, but a `where` on what is none
REFUSED = {("prefix", "llama"), ("prompt", "vit"), ("bitfit", "llama"), ("dora", "built_classifier")}


def fits(method, architecture):
    """Whether the method can be on the architecture: Llama has no biases, DoRA takes no convolution, ..."""
    placed = architecture in TRANSFORMERS or method in ANYWHERE
    return placed and (method, architecture) not in REFUSED


LAWS = {}


def law(function):
    LAWS[function.__name__] = function
    return function


def make(tiny, architecture, method):
    """A tiny model of the architecture, a transformer of one layer, what goes in, and where the method goes."""
    build, x, where = tiny.ARCHITECTURES[architecture]
    keras.utils.set_random_seed(0)
    return build(**{"layers": 1} if architecture in TRANSFORMERS else {}), x, where if method in ANYWHERE else None


def injected(tiny, architecture, method, **more):
    """The model with the method, what goes in, and the base's weights and answer before."""
    base, x, where = make(tiny, architecture, method)
    before, plain = tiny.numbers(base), tiny.answer(base, x)
    return peft.inject(base, method, where, **EXAMPLES.get(method, {}), **more), x, before, plain


def fit(tiny, model, x):
    """One step, not traced."""
    if not model.compiled or not model.run_eagerly:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=True)
    y = np.ones(tiny.answer(model, x).shape[:-1], "int32")  # a class a sample, or a token
    model.fit(x, y, shuffle=False, verbose=0)
    return model


@law
def starts_as_the_base(tiny, architecture, method, tmp_path):
    """To the bit, where the method says so."""
    model, x, _, plain = injected(tiny, architecture, method)
    if METHODS[method].identity:
        np.testing.assert_array_equal(tiny.answer(model, x), plain)
    with peft.disabled(model):
        np.testing.assert_array_equal(tiny.answer(model, x), plain)


@law
def only_its_weights_train(tiny, architecture, method, tmp_path):
    """After a `fit` the base is as it was, to the bit, and every weight of the adapter has moved."""
    model, x, before, plain = injected(tiny, architecture, method, train=None)
    own = model.trainable_variables
    assert own
    assert all("/default/" in one.path for one in own)
    held = [keras.ops.convert_to_numpy(one) for one in own]
    for _ in range(2):  # the first step of LoRA moves B only: A's gradient is B's start, zero
        fit(tiny, model, x)
    moved = [np.abs(keras.ops.convert_to_numpy(one) - was).max() for one, was in zip(own, held, strict=True)]
    assert min(moved) > 0, [one.path for one, far in zip(own, moved, strict=True) if not far]
    base = peft.eject(model)
    assert all(np.array_equal(*pair) for pair in zip(before, tiny.numbers(base), strict=True))
    np.testing.assert_array_equal(tiny.answer(base, x), plain)


@law
def reloads_and_goes_on(tiny, architecture, method, tmp_path):
    """Through a file, with the optimizer's state and dropout's random numbers."""
    model, x, _, _ = injected(tiny, architecture, method)
    save(fit(tiny, model, x), tmp_path / "m.keras")
    again = load(tmp_path / "m.keras")
    assert freeze_plan(again)["layers"] == freeze_plan(model)["layers"]
    assert again.run_eagerly
    np.testing.assert_array_equal(tiny.answer(fit(tiny, again, x), x), tiny.answer(fit(tiny, model, x), x))


@law
def is_disabled_and_merged(tiny, architecture, method, tmp_path):
    """Disabled it is the base; merged it answers alike, or says what to do instead and is unharmed."""
    model, x, _, plain = injected(tiny, architecture, method)
    learned = tiny.answer(tiny.learn(model), x)
    assert np.abs(learned - plain).max() > 1e-4
    with peft.disabled(model):
        np.testing.assert_array_equal(tiny.answer(model, x), plain)
    if METHODS[method].can_merge:
        merged = peft.merge(model)
        assert not [one for one in merged.layers if isinstance(one, peft.Injection)]
        np.testing.assert_allclose(tiny.answer(merged, x), learned, atol=1e-4, rtol=1e-4)
    else:
        with pytest.raises(ValueError, match=r"cannot be merged: \w+.*Received: "):
            peft.merge(model)
        np.testing.assert_array_equal(tiny.answer(model, x), learned)


def tflite_answer(model, x, path):
    """What the `.tflite` of a model says; inputs are found by their names."""
    from ai_edge_litert.interpreter import Interpreter

    given = x if isinstance(x, dict) else {model.inputs[0].name: x}
    types = {one.name: one.dtype for one in model.inputs}
    spec = {name: keras.InputSpec(shape=value.shape, dtype=types[name], name=name) for name, value in given.items()}
    model.export(
        path, format="litert", verbose=False, input_signature=[spec if isinstance(x, dict) else spec.popitem()[1]]
    )
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    for one in inputs:
        name = next((name for name in given if name in one["name"]), None) or next(iter(given))
        interpreter.set_tensor(one["index"], given[name].astype(one["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def check_conversion(tiny, architecture, method, tmp_path):
    """The injected model as it is, its adapters beside the kernels, in LiteRT."""
    model, x, _, _ = injected(tiny, architecture, method)
    expected = tiny.answer(tiny.learn(model), x)
    np.testing.assert_allclose(tflite_answer(model, x, tmp_path / "m.tflite"), expected, atol=1e-4)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_bert(tiny, tmp_path, name, method):
    check = LAWS[name]
    check(tiny, "bert", method, tmp_path)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("architecture", [name for name in NAMES if name != "bert"])
def test_lora_on_every_architecture(tiny, tmp_path, name, architecture):
    check = LAWS[name]
    check(tiny, architecture, "lora", tmp_path)


ALL = [(method, name) for name in NAMES for method in METHODS]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("method", "architecture"), [one for one in ALL if fits(*one) and one[1] != "bert"])
def test_all_with_all(tiny, tmp_path, name, architecture, method):
    check = LAWS[name]
    check(tiny, architecture, method, tmp_path)


@pytest.mark.parametrize(("method", "architecture"), [one for one in ALL if not fits(*one)])
def test_what_does_not_fit_is_told_and_the_model_unharmed(tiny, architecture, method):
    base, x, where = make(tiny, architecture, method)
    before, plain, trainable = tiny.numbers(base), tiny.answer(base, x), len(base.trainable_variables)
    with pytest.raises(ValueError, match="Received: "):
        peft.inject(base, method, where, **EXAMPLES.get(method, {}))
    assert all(np.array_equal(*pair) for pair in zip(before, tiny.numbers(base), strict=True))
    assert len(base.trainable_variables) == trainable
    np.testing.assert_array_equal(tiny.answer(base, x), plain)


def test_lora_converts(tiny, tmp_path):
    check_conversion(tiny, "dense", "lora", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "architecture"), [one for one in ALL if fits(*one)])
def test_all_convert(tiny, tmp_path, architecture, method):
    check_conversion(tiny, architecture, method, tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_names_its_paper_and_has_an_example(method):
    kind = METHODS[method]
    assert issubclass(kind, peft.Injection)
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", inspect.getdoc(kind))
    assert f'inject(model, "{method}"' in inspect.getdoc(kind)
    assert kind.can_merge or kind.merge_help
    assert keras.saving.get_registered_name(kind) == f"keras_transfer>{kind.__name__}"


def test_the_architectures_are_the_ones_of_the_conftest(tiny):
    assert list(tiny.ARCHITECTURES) == NAMES


TWO = """
import json
import sys
from keras_transfer import peft
from keras_transfer.core.devices import strategy

method, settings = sys.argv[1], json.loads(sys.argv[2])
import keras_hub

x = {"token_ids": np.random.default_rng(0).integers(5, 60, (12, 8)), "padding_mask": np.ones((12, 8), "int32")}
x["segment_ids"] = np.zeros((12, 8), "int32")
y = np.arange(12) % 3
answers = []
for place in (tf.distribute.get_strategy(), strategy("auto")):
    keras.utils.set_random_seed(0)
    with place.scope():
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=60, num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=8, dropout=0.0
        )
        base = keras_hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=None, dropout=0.0)
        model = peft.inject(base, method, **settings)
        random = np.random.default_rng(0)
        for one in model.trainable_variables:
            one.assign(random.normal(size=one.shape, scale=0.1))
        model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0)
    with peft.disabled(model):
        off = model.predict(x, verbose=0, batch_size=4)
    on = model.predict(x, verbose=0, batch_size=4)
    assert np.abs(on - off).max() > 1e-4
    answers.append(on)
print(np.abs(answers[0] - answers[1]).max())
"""


@pytest.mark.distributed
@pytest.mark.parametrize("method", METHODS)
def test_two_replicas_equal_one(two_devices, method):
    assert float(two_devices(TWO, method, json.dumps(EXAMPLES.get(method, {})))) < 1e-4
