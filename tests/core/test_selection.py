"""The `where` language against models whose layers are known by name."""

import re

import keras
import pytest

from keras_transfer.core.selection import named_layers, select


def paths(model, where):
    return [path for path, _ in select(model, where)]


def test_paths_are_ownership_paths_parents_first(small_model):
    found = [path for path, _ in named_layers(small_model(augmentation=True))]
    assert found[0] == "augmentation"
    assert (
        found.index("backbone")
        < found.index("backbone/conv1")
        < found.index("backbone/conv2")
        < found.index("head/logits")
    )
    assert len(found) == len(set(found))


def test_paths_reach_inside_composite_layers():
    x = keras.Input((4, 8))
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    assert paths(model, "attention/query") == ["attention/query"]
    assert {"attention/query", "attention/key", "attention/value", "attention/attention_output"} <= set(
        paths(model, "attention")
    )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("backbone/conv1", ["backbone/conv1"]),
        ("conv1", ["backbone/conv1"]),
        ("logits", ["head/logits"]),
        ("head", ["head", "head/dropout", "head/logits"]),
        ("re:backbone/conv[12]", ["backbone/conv1", "backbone/conv2"]),
        (re.compile(".*/bn."), ["backbone/bn1", "backbone/bn2", "backbone/bn3"]),
        (keras.layers.BatchNormalization, ["backbone/bn1", "backbone/bn2", "backbone/bn3"]),
        (lambda path, layer: layer.name == "add", ["backbone/add"]),
        (["conv3", "logits"], ["backbone/conv3", "head/logits"]),
        ("all-linear", None),
    ],
)
def test_where(small_model, where, expected):
    model = small_model()
    if expected is None:  # the only Dense is the head's, which all-linear leaves out
        with pytest.raises(ValueError, match="matches no layer"):
            select(model, where)
    else:
        assert paths(model, where) == expected


def test_a_pattern_must_match_the_whole_path(small_model):
    with pytest.raises(ValueError, match="matches no layer"):
        select(small_model(), "re:conv1")


def test_a_match_on_a_composite_means_all_below_it(small_model):
    model = small_model()
    assert (
        len(paths(model, "backbone")) == 1 + len(model.get_layer("backbone").layers) - 1
    )  # itself, its layers, no input layer


def test_top_takes_whole_blocks_with_weights_only(small_model):
    model = small_model()
    assert paths(model, "top:1") == ["backbone/conv3", "backbone/bn3"]
    assert paths(model, "top:2") == ["backbone/conv2", "backbone/bn2", "backbone/conv3", "backbone/bn3"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("convv1", "Did you mean 'conv1'"),
        ("re:(", "valid regular expression"),
        ("top:99", "blocks, N from 1"),
        ("top:0", "blocks, N from 1"),
        ([], "empty list"),
        (["conv1", "nowhere"], "nowhere"),
        (keras.layers.LSTM, "matches no layer"),
    ],
)
def test_no_match_is_an_error_that_helps(small_model, where, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        select(small_model(), where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("conv_3", "Did you mean 'conv_2' or 'conv_1' or 'stem_conv'?"),  # the activations are as near
        ("conv_1_rlu", "Did you mean 'conv_1_relu' or 'conv_1' or 'conv_2'?"),  # but the nearest of all is named
        ("zzzzzzzz", "Known: 'stem_conv', 'conv_1', 'conv_2', 'conv_1_relu'"),
    ],
)
def test_the_nearest_names_are_those_of_layers_with_weights(where, message):
    layers = keras.layers
    shown = [layers.ReLU(name="conv_1_relu"), layers.Conv2D(2, 1, name="stem_conv"), layers.ReLU(name="conv_2_relu")]
    held = [layers.Conv2D(2, 1, name="conv_1"), layers.Conv2D(2, 1, name="conv_2")]
    with pytest.raises(ValueError, match=re.escape(message)):
        select(keras.Sequential([keras.Input((4, 4, 2)), *shown, *held]), where)


def test_a_wrong_kind_of_where_is_a_type_error(small_model):
    with pytest.raises(TypeError, match="Received: 3"):
        select(small_model(), 3)


def test_an_encoder_has_no_head():
    from keras_transfer.backbones import build_encoder

    encoder = build_encoder("mobilenet_0.25", weights=None, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="no head"):
        select(encoder, "head")
