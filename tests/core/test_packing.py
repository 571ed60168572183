"""The cut inside an encoder with several inputs and outputs: hidden states and masks as one array, and what is idle."""

import inspect

import keras
import keras_hub
import numpy as np
import pytest

from keras_transfer.backbones import build_text_classifier
from keras_transfer.core.activations import Runner
from keras_transfer.core.fitting import fit
from keras_transfer.core.freezing import came_frozen, freeze, unfreeze
from keras_transfer.core.idle import idle_layers
from keras_transfer.core.packing import Pack, Unpack
from keras_transfer.core.prefix import cut
from keras_transfer.core.surgery import walk

IDS = np.array([[2, 7, 8, 3, 9, 10, 3, 0, 0], [2, 5, 6, 3, 0, 0, 0, 0, 0], [2, 5, 6, 7, 8, 9, 10, 11, 3]], "int32")
SIZES = {
    "vocabulary_size": 60, "vocab_size": 60, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32,
    "max_sequence_length": 32, "bucket_size": 8, "embedding_dim": 8, "head_size": 8,
}  # fmt: skip


def encoder(family):
    kind = getattr(keras_hub.models, f"{family}Backbone")
    keras.utils.set_random_seed(0)
    return kind(**{name: SIZES[name] for name in inspect.signature(kind.__init__).parameters if name in SIZES})


def test_what_is_packed_comes_out_as_it_was():
    rng = np.random.default_rng(0)
    hidden, mask = rng.normal(size=(2, 5, 3)).astype("float32"), rng.integers(0, 2**20, (2, 5)).astype("int32")
    packed = Pack()([hidden, mask, mask > 7])
    assert packed.shape == (2, 5, 5)
    out = Unpack(["float32", "int32", "bool"])(packed)
    for one, given in zip(out, (hidden, mask, mask > 7), strict=True):
        np.testing.assert_array_equal(np.asarray(one), given)
        assert np.asarray(one).dtype == given.dtype


@pytest.mark.fast(3)
@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("family", ["Bert", "DebertaV3", "DistilBert", "Roberta", "FNet", "Albert", "RoformerV2"])
def test_the_parts_are_the_model_in_every_family(family, pooling):
    model = build_text_classifier(encoder(family), 3, pooling=pooling)
    whole = np.asarray(model(IDS, training=False))
    for where, cut_inside in (("head", False), (["head", "top:1"], True)):
        unfreeze(freeze(model), where)
        here = cut(model)
        assert not here.prefix.trainable_weights
        assert {id(v) for v in here.suffix.trainable_weights} == {id(v) for v in model.trainable_weights}
        assert here.prefix.output.shape[1:-1] == ((None,) if cut_inside else ())
        out = here.suffix(Runner(here)(IDS, augmented=False), training=False)
        np.testing.assert_allclose(np.asarray(out), whole, atol=1e-5)


def test_the_cut_lies_right_before_the_first_layer_that_trains():
    model = build_text_classifier(encoder("Bert"), 2, pooling="mean")
    unfreeze(freeze(model), ["head", "top:2"])
    below = {one.path.split("/")[-2] for one in cut(model).prefix.weights}
    assert below & {"token_embedding", "position_embedding", "embeddings_layer_norm"}
    assert not any("self_attention" in one.path for one in cut(model).prefix.weights)
    assert cut(unfreeze(model)) is None


def test_two_hidden_states_are_not_packed_the_cut_falls_before_them():
    """Both embeddings go into the layer that trains: one of them stays behind the cut, and the parts are the model."""
    ids, more = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    low = keras.layers.Embedding(9, 4, name="low")(ids)
    side = keras.layers.Embedding(9, 4, name="side")(more)
    top = keras.layers.MultiHeadAttention(1, 4, name="top")(low, side)
    inner = keras.Model([ids, more], keras.layers.Add()([top, low]), name="backbone")
    inputs = keras.Input((None,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(inner([inputs, inputs]))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(pooled))
    unfreeze(freeze(model), ["head", "top"])
    here = cut(model)
    assert here.prefix.output.shape == (None, None, 5)  # one embedding, and the ids of the other
    out = here.suffix(here.prefix(IDS % 9, training=False), training=False)
    np.testing.assert_allclose(np.asarray(out), np.asarray(model(IDS % 9, training=False)), atol=1e-5)


def fitted(cache, shuffle=True):
    from keras_transfer.data import TextData

    rng = np.random.default_rng(0)
    model = build_text_classifier(encoder("Bert"), 2, pooling="mean")
    ids = [np.r_[2, rng.integers(4, 60, rng.integers(1, 20)), 3].astype("int32") for _ in range(40)]
    labels = rng.integers(0, 2, 40)
    data = TextData.from_arrays([" ".join(map(str, one)) for one in ids], labels)

    class Ready:  # the ids are known already
        pad_id, max_length, tokenizer = 0, 24, None

        def encode(self, texts):
            rows = [np.array(text.split(), "int32") for text in texts]
            return rows, np.array([len(row) for row in rows])

    data = data.tokenized(Ready())
    unfreeze(freeze(model), ["head", "top:1"])
    for layer in walk(model):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    fit(
        model, data.splits["train"], optimizer=keras.optimizers.SGD(0.1), epochs=3, batch_size=8, cache=cache,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), shuffle=shuffle, verbose=0,
        validation_data=data.splits["validation"],
    )  # fmt: skip
    return model


@pytest.mark.slow
def test_cached_and_uncached_fits_are_one_and_change_only_what_trains():
    """Law: three epochs on activations that are padded, cut and shown by batch are those on the token ids."""
    start = build_text_classifier(encoder("Bert"), 2, pooling="mean").get_weights()
    cached, plain = fitted(True), fitted(False)
    moved = 0
    for before, one, other, variable in zip(
        start, cached.get_weights(), plain.get_weights(), plain.weights, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
        if variable.trainable:
            moved += not np.array_equal(before, one)
        else:
            np.testing.assert_array_equal(before, one)
    assert moved > 10


def test_a_layer_whose_output_nobody_takes_stays_frozen():
    pooled, mean = (
        build_text_classifier(encoder("Bert"), 2, weights=None, pooling=word) for word in ("pooled", "mean")
    )
    assert idle_layers(pooled) == set()
    pooler = mean.get_layer("backbone").get_layer("pooled_dense")
    assert idle_layers(mean) == {id(pooler)}
    assert not came_frozen(mean)  # from scratch: nothing that was learned is frozen
    unfreeze(mean)
    assert not pooler.trainable
    assert pooled.get_layer("backbone").get_layer("pooled_dense").trainable
    with pytest.raises(ValueError, match="a part in the model's output"):
        unfreeze(mean, "pooled_dense")
