"""Blocks: what each family's paper calls one, every layer with weights in exactly one, from input to output."""

import keras
import pytest

from keras_transfer.backbones import build_classifier, find_blocks
from keras_transfer.core.selection import select


def names(blocks):
    return [[layer.name for layer in block] for block in blocks]


def built(name):
    return build_classifier(name, 2, weights=None, input_shape=(32, 32, 3), augmentation="none")


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("mobilenet_0.25", 14, ["conv1", "conv1_bn"], ["conv_dw_13", "conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn"]),
        ("mobilenet_v2_0.35", 19, ["Conv1", "bn_Conv1"], ["Conv_1", "Conv_1_bn"]),
        ("efficientnet_b0", 18, None, ["top_conv", "top_bn"]),
        (
            *("resnet50", 17, ["conv1_conv", "conv1_bn"]),
            [f"conv5_block3_{i}_{kind}" for i in (1, 2, 3) for kind in ("conv", "bn")],
        ),
    ],
)
def test_the_families(name, count, first, last):
    model = built(name)
    blocks = find_blocks(model)
    assert len(blocks) == count
    assert first is None or names(blocks)[0] == first
    assert names(blocks)[-1] == last
    inside = [layer for layer in model.get_layer("backbone").layers if layer.weights]
    assert [layer for block in blocks for layer in block] == inside
    assert find_blocks(model.get_layer("backbone")) == blocks


def test_efficientnet_whatever_its_running_numbers():
    """The second one built has `normalization_N`; the blocks are the same, the input's normalisation in the first."""
    for _ in range(2):
        blocks = names(find_blocks(built("efficientnet_b0")))
        assert blocks[0][0].startswith("normalization")
        assert blocks[0][1:] == ["stem_conv", "stem_bn"]
        assert blocks[11][0] == "block5c_expand_conv"


def test_top_selects_the_last_blocks():
    model = built("mobilenet_v2_0.35")
    paths = [path for path, layer in select(model, "top:2") if layer.weights]
    assert paths == [f"backbone/{name}" for block in names(find_blocks(model))[-2:] for name in block]


def test_a_module_with_running_numbers_is_one_block():
    """InceptionV3 names its layers by running numbers; five convolutions, then its eleven modules, by the graph."""
    for _ in range(2):
        net = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(75, 75, 3))
        sizes = [len(block) for block in find_blocks(net)]
        assert sizes == [2] * 5 + [14] * 3 + [8] + [20] * 4 + [12, 18, 18]


def test_a_shortcut_belongs_to_what_runs_beside_it():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for i in (1, 2):
        y = keras.layers.BatchNormalization(name=f"norm_{i}")(x)  # before its convolution, in the same branch
        y = keras.layers.Conv2D(4 * i, 3, padding="same", name=f"conv_{i}")(y)
        x = keras.layers.Add()([keras.layers.Conv2D(4 * i, 1, name=f"shortcut_{i}")(x), y])
    x = keras.layers.Conv2D(4, 1, name="last")(x)
    blocks = [set(block) for block in names(find_blocks(keras.Model(inputs, x)))]
    assert blocks == [{"stem"}, *({f"norm_{i}", f"conv_{i}", f"shortcut_{i}"} for i in (1, 2)), {"last"}]


def test_what_runs_through_the_whole_model_divides_nothing():
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for i in range(4):
        x = keras.layers.Conv2D(3, 3, padding="same", name=f"conv_{i}")(x)
    model = keras.Model(inputs, keras.layers.Concatenate()([inputs, x]))
    assert names(find_blocks(model)) == [[f"conv_{i}"] for i in range(4)]


def test_the_head_of_a_flat_classifier_is_no_block():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="second")(x))
    flat = keras.Model(inputs, keras.layers.Dense(2, name="classes")(x))
    assert names(find_blocks(flat)) == [["first"], ["second"]]
    assert [path for path, _ in select(flat, "top:1")] == ["second"]
    named = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    )
    assert names(find_blocks(named)) == [["body"]]


def test_one_rule_for_all_others(small_backbone):
    assert names(find_blocks(small_backbone())) == [["first", "first_bn"], ["second", "second_bn"]]
    stack = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Normalization(), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    )
    assert [len(block) for block in find_blocks(stack)] == [2]


def test_a_layer_that_holds_layers_is_one_block():
    inputs = keras.Input((6, 4))
    x = keras.layers.MultiHeadAttention(2, 2, name="attention")(inputs, inputs)
    x = keras.layers.LayerNormalization(name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(x))
    assert names(find_blocks(model)) == [["attention", "norm"], ["dense"]]


def test_the_backbone_of_a_model_built_by_hand(small_backbone):
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), small_backbone(), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    assert names(find_blocks(model)) == [["first", "first_bn"], ["second", "second_bn"]]


def test_a_model_without_weights_has_no_blocks():
    assert find_blocks(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])) == []
