"""What is injected: which layers, what trains, and the base in place; refusals leave the model as it was."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.freezing import trainable_report
from keras_transfer.peft.places import places


def injected_names(model):
    paths = places(model)
    return [paths[id(one)] for one in model.injections]


def test_query_and_value_by_architecture(tiny):
    found = {name: injected_names(peft.inject(make(), "lora")) for name, (make, _, where) in MODELS(tiny) if not where}
    assert [one.split("/")[-1] for one in found["bert"]] == ["query", "value"] * 2
    assert [one.split("/")[-1] for one in found["roberta"]] == ["query", "value"] * 2
    assert [one.split("/")[-2:] for one in found["vit"]] == [["mha", "query"], ["mha", "value"]] * 2
    assert len(found["distil_bert"]) == len(found["llama"]) == 4


def MODELS(tiny):  # noqa: N802
    return [(name, one) for name, one in tiny.ARCHITECTURES.items() if one[2] is None]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("query", ["query", "query"]),
        ("q_proj", ["query", "query"]),  # as HF PEFT calls it elsewhere
        (["q_lin", "value"], ["query", "value"] * 2),
        ("transformer_layer_1/self_attention_layer", ["query", "key", "value", "attention_output"]),
        (keras.layers.EinsumDense, ["query", "key", "value", "attention_output"] * 2),
        ("re:.*layer_0/feedforward.*dense", ["feedforward_intermediate_dense", "feedforward_output_dense"]),
        (lambda path, layer: path.endswith("layer_0/self_attention_layer/key"), ["key"]),
    ],
)
def test_where_names_layers(tiny, where, names):
    model = peft.inject(tiny.bert_classifier(), "lora", where, rank=2)
    assert [one.name for one in model.injections] == names


def test_all_linear_is_everything_but_the_head(tiny):
    model = peft.inject(tiny.roberta(), "lora", "all-linear", rank=2)
    assert len(model.injections) == 2 * 6
    assert not isinstance(model.get_layer("pooled_dense"), peft.Injection)  # it trains whole, with the rest of the head


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"where": "qery"}, r"Did you mean 'query'.*Received: where='qery'"),
        ({"where": keras.layers.Dropout}, "handles no layer that `where` names. Known: .*'query'"),
        ({"where": "logits"}, "What trains whole takes no adapter"),
        ({"where": []}, "Received: an empty list"),
        ({"method": "lorra"}, r"Did you mean 'lora'.*Received: 'lorra'"),
        ({"name": "a/b"}, "must be of letters, digits"),
        ({"name": ""}, "must be of letters, digits"),
        ({"train": "hed"}, "matches no layer"),
        ({"train": "dropout"}, "matches no layer|layers with weights"),
    ],
)
def test_what_cannot_be_is_told_and_the_model_unharmed(bert, tiny, arguments, said):
    before, trainable = tiny.numbers(bert), len(bert.trainable_variables)
    with pytest.raises(ValueError, match=said):
        peft.inject(bert, **{"method": "lora", **arguments})
    after = tiny.numbers(bert)
    assert len(before) == len(after)
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert len(bert.trainable_variables) == trainable


@pytest.fixture(scope="module")
def bert(tiny):
    return tiny.bert_classifier()


def test_a_model_without_attention_wants_a_where(tiny):
    with pytest.raises(ValueError, match=r"'all-linear' for every Dense.*'first'"):
        peft.inject(tiny.dense())


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"Functional or a built Sequential.*Own"):
        peft.inject(Own())
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        peft.inject(keras.layers.Dense(3))


def test_a_training_step_of_ones_own_is_not_lost_in_silence():
    class Own(keras.Model):
        def train_step(self, *data):
            return {"loss": 0.0}

    x = keras.Input((4,))
    with pytest.raises(ValueError, match=r"`train_step` of its own would lose it"):
        peft.inject(Own(x, keras.layers.Dense(3, name="d")(x)), "lora", "d")


@pytest.mark.parametrize(
    ("train", "layers"),
    [
        ("auto", ["pooled_dense", "logits"]),
        (None, []),
        ("logits", ["logits"]),
        (["re:.*embeddings_layer_norm", "logits"], ["embeddings_layer_norm", "logits"]),
    ],
)
def test_what_else_trains(tiny, train, layers):
    model = peft.inject(tiny.roberta(), "lora", rank=2, train=train)
    others = [one.path for one in model.trainable_variables if "lora" not in one.path]
    assert list(dict.fromkeys(path.split("/")[-2] for path in others)) == layers
    assert len(model.trainable_variables) == 2 * 4 + len(others)


def test_a_bare_backbone_has_no_head(tiny):
    model = peft.inject(tiny.bert(), "lora", rank=2)
    assert all("lora" in one.path for one in model.trainable_variables)
    assert trainable_report(model).trainable == 2 * 2 * 2 * (16 + 16)


def test_the_paths_tell_the_layer_and_are_unique(tiny):
    model = peft.inject(tiny.vit_classifier(), "lora", rank=2)
    paths = [one.path for one in model.trainable_variables if "lora" in one.path]
    assert len(set(paths)) == len(paths) == 8
    tails = {"/".join(path.split("/")[-3:]) for path in paths}
    assert tails == {f"{layer}/default/{name}" for layer in ("query", "value") for name in ("lora_a", "lora_b")}


def test_the_base_is_injected_in_place(tiny):
    """The base, the injected model and what is built over either run the same layers; traced functions are dropped."""
    model = tiny.dense()
    before = model.predict(tiny.PIXELS, verbose=0)
    injected = tiny.learn(peft.inject(model, "lora", "first", rank=2))
    after = injected.predict(tiny.PIXELS, verbose=0)
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_array_equal(model.predict(tiny.PIXELS, verbose=0), after)
    inner = keras.Model(injected.input, injected.get_layer("first").output)
    assert isinstance(inner.layers[-1], peft.LoRA)
    assert injected.get_layer("first").units == 12  # others may ask for what the layer has
    assert injected.get_layer("first").kernel is injected.get_layer("first").base.kernel


def test_a_layer_that_is_used_twice_has_one_adapter():
    x = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    model = peft.inject(keras.Model(x, shared(shared(x))), "lora", "shared", rank=2, train=None)
    assert len(model.injections) == 1
    for one in model.trainable_variables:
        one.assign(np.full(one.shape, 0.5))
    data = np.eye(4, dtype="float32")
    kernel = keras.ops.convert_to_numpy(shared.kernel) + 2 * 8 * 0.25 * np.ones((4, 4))  # s = alpha / rank = 8
    np.testing.assert_allclose(model(data), data @ kernel @ kernel, rtol=1e-5)


def test_a_layer_is_found_wherever_it_is_held(tiny):
    """In lists, dictionaries and tuples, and in each other; what is taken out again is held as before."""

    class Holder(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="holder")
            named = {name: keras.layers.Dense(4, name=name) for name in ("one", "two", "three", "four")}
            self.several, self.by_name = [named["one"]], {"two": named["two"]}
            self.pair, self.deep = (named["three"], 1), {"deep": [named["four"]]}

        def build(self, shape):
            for one in (*self.several, self.by_name["two"], self.pair[0], self.deep["deep"][0]):
                one.build(shape)

        def call(self, x):
            x = self.by_name["two"](self.several[0](x))
            return self.deep["deep"][0](self.pair[0](x))

    x = keras.Input((4,))
    base = keras.Model(x, Holder()(x))
    data = np.eye(4, dtype="float32")
    before = tiny.answer(base, data)
    model = tiny.learn(peft.inject(base, "lora", keras.layers.Dense, rank=1, train=None), scale=1.0)
    assert [one.name for one in model.injections] == ["one", "two", "three", "four"]
    moved = tiny.answer(model, data)
    expected = data
    for one in model.injections:
        adapter = one.adapters["default"]
        a, b, kernel = (keras.ops.convert_to_numpy(each) for each in (adapter.lora_a, adapter.lora_b, one.kernel))
        expected = expected @ (kernel + 16 * a @ b)
    np.testing.assert_allclose(moved, expected, rtol=1e-3)
    base = peft.eject(model)
    np.testing.assert_array_equal(tiny.answer(base, data), before)
    assert isinstance(base.get_layer("holder").pair[0], keras.layers.Dense)
    again = peft.inject(base, "lora", "one", rank=1, train=None)  # and injected again
    np.testing.assert_array_equal(tiny.answer(again, data), before)


def test_two_methods_stand_around_one_layer(tiny):
    model = tiny.learn(peft.inject(tiny.dense(), "bitfit", "first", train=None, name="one"))
    alone = tiny.answer(model, tiny.PIXELS)
    tiny.learn(peft.inject(model, "lora", "first", rank=2, train=None, name="two"), seed=1)
    peft.activate(model, ["one", "two"])
    both = tiny.answer(model, tiny.PIXELS)
    assert [one.method for one in model.injections] == ["bitfit", "lora"]
    assert np.abs(both - alone).max() > 1e-3
    peft.eject(model, "two")
    np.testing.assert_array_equal(tiny.answer(model, tiny.PIXELS), alone)
    assert peft.eject(model).get_layer("first").activation is keras.activations.gelu


def test_a_second_adapter_takes_after_all_that_the_first_has(tiny):
    model = peft.inject(tiny.dense(), "lora", "first", rank=2, bias="all", train="last", name="one")
    peft.activate(peft.add_adapter(model, "two", rank=3), "two")
    assert [(one.method, list(one.adapters)) for one in model.injections] == [("lora", ["one", "two"])]
    shapes = [tuple(one.shape) for one in model.trainable_variables]
    assert shapes == [(48, 3), (3, 12), (12,), (12, 3), (3,)]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_start(tiny, policy):
    model = tiny.bert(dtype=policy)
    before = model(tiny.BERT_INPUT)["pooled_output"]
    model = peft.inject(model, "lora", "all-linear", rank=2, bias="all")
    after = model(tiny.BERT_INPUT)["pooled_output"]
    assert after.dtype == before.dtype
    assert bool(keras.ops.all(keras.ops.equal(before, after)))
    assert {one.dtype for one in model.trainable_variables} == {"float32"}


def test_keras_int8_base_trains_below_lora(tiny):
    x = keras.Input((16,))
    model = keras.Model(x, keras.layers.Dense(8, activation="tanh", name="first")(x))
    model.quantize("int8")
    data = np.random.default_rng(0).normal(size=(8, 16)).astype("float32")
    before = keras.ops.convert_to_numpy(model(data))
    codes = tiny.numbers(model)
    model = peft.inject(model, "lora", "first", rank=2, train=None)
    np.testing.assert_array_equal(model(data), before)
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    model.fit(data, np.zeros((8, 8)), verbose=0)
    assert np.abs(model(data) - before).max() > 1e-3
    base = peft.eject(model)
    assert all(np.array_equal(*pair) for pair in zip(codes, tiny.numbers(base), strict=True))


SCRIPT = """
import numpy as np
import keras
from keras_transfer import peft

keras.utils.set_random_seed(0)
x = keras.Input((6,))
h = keras.layers.Dense(8, activation="relu", name="first")(x)
model = keras.Model(x, keras.layers.Dense(2, name="last")(h))
data = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
before = np.asarray(model(data))
model = peft.inject(model, "lora", "first", rank=2, dropout=0.1)
assert np.array_equal(np.asarray(model(data)), before)
model.compile("adam", "mse")
model.fit(data, data[:, :2], epochs=3, verbose=0)
after = model.predict(data, verbose=0)
with peft.disabled(model):
    assert np.abs(model.predict(data, verbose=0) - before).max() < 1e-6
peft.activate(peft.add_adapter(model, "more"), "more")
model.fit(data, data[:, :2], verbose=0)
peft.activate(model, "default")
assert np.abs(model.predict(data, verbose=0) - after).max() < 1e-6
assert np.abs(peft.merge(model).predict(data, verbose=0) - after).max() < 1e-5

keras.utils.set_random_seed(0)  # without dropout a step folds the kernel: the same as eager steps of the product form
x = keras.Input((3, 6))
h = keras.layers.EinsumDense("abc,cde->abde", (3, 2, 4), activation="relu", name="first")(x)
model = keras.Model(x, keras.layers.Dense(2, name="last")(keras.layers.Flatten()(h)))
model = peft.inject(model, "lora", "first", rank=2)
data = np.random.default_rng(0).normal(size=(16, 3, 6)).astype("float32")
start = model.get_weights()
ends = []
for folds in (peft.lora.folds, lambda *_: False):
    peft.lora.folds = folds
    model.set_weights(start)
    model.compile("adam", "mse")
    model.fit(data, data[:, 0, :2], epochs=3, shuffle=False, verbose=0)
    ends.append(model.predict(data, verbose=0))
assert np.abs(ends[0] - ends[1]).max() < 1e-5
"""


def test_lora_trains_on_jax_with_tensorflow_blocked(on_jax):
    assert on_jax(SCRIPT) == "done on JAX"
