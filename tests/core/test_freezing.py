"""Freezing: what is frozen does not move, what was frozen comes back, and the report counts right."""

import keras
import numpy as np
import pytest

from keras_transfer.core.freezing import apply_plan, freeze, freeze_plan, trainable_report, unfreeze
from keras_transfer.core.saving import load, save


def short(variable):
    return "/".join(variable.path.split("/")[-2:])


def trained(model):
    return {short(v) for v in model.trainable_weights}


def moved(model, pictures):
    before = {id(v): np.array(v) for v in model.weights}
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*pictures, verbose=0)
    return {short(v) for v in model.weights if not np.array_equal(before[id(v)], np.array(v))}


def test_frozen_weights_and_statistics_do_not_move(small_model, pictures):
    model = freeze(small_model(), "backbone")
    assert moved(model, pictures) == {"logits/kernel", "logits/bias"}


def test_an_unfrozen_block_moves_but_its_batch_norm_does_not(small_model, pictures):
    model = unfreeze(freeze(small_model()), ["head", "top:1"])
    assert moved(model, pictures) == {"conv3/kernel", "conv3/bias", "logits/kernel", "logits/bias"}


def test_batch_norm_trains_when_asked_and_only_then(small_model, pictures):
    model = unfreeze(freeze(small_model()), "bn3")
    assert not trained(model)
    unfreeze(model, "bn3", batch_norm="train")
    assert moved(model, pictures) == {f"bn3/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")}


def test_a_batch_norm_that_trained_goes_on_training(small_model):
    model = unfreeze(small_model(), "backbone")
    assert {"bn1/gamma", "bn2/gamma"} <= trained(model)


def test_unfreeze_reaches_leaves_that_were_frozen_one_by_one(small_model):
    model = small_model()
    everything = trained(model)
    for layer in model.get_layer("backbone").layers:
        layer.trainable = False  # on TensorFlow `backbone.trainable = True` would not bring them back
    unfreeze(model, batch_norm="train")
    assert trained(model) == everything


def test_unfreeze_inside_a_wholly_frozen_model_leaves_the_rest_frozen(small_model):
    model = small_model()
    model.trainable = False
    unfreeze(model, "conv2")
    assert trained(model) == {"conv2/kernel", "conv2/bias"}


class Scaled(keras.layers.Layer):
    """A layer with a weight of its own and a layer below it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(4, name="inner")

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), name="scale")
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x) * self.scale


def scaled_model():
    x = keras.Input((4,))
    return keras.Model(x, Scaled(name="scaled")(x))


def test_a_composite_with_weights_of_its_own_and_sublayers():
    model = scaled_model()
    unfreeze(freeze(model), "inner")
    assert trained(model) == {"inner/kernel", "inner/bias"}


def test_plan_survives_json_and_names_a_foreign_model(small_model):
    model = unfreeze(freeze(small_model()), "top:1")
    plan = freeze_plan(model)
    again = apply_plan(small_model(), plan)
    assert trained(again) == trained(model)
    assert freeze_plan(again) == plan
    with pytest.raises(ValueError, match="head/logits"):
        apply_plan(small_model(classes=5), plan)
    with pytest.raises(ValueError, match="format"):
        apply_plan(small_model(), {"format": 9, "layers": []})


def test_save_and_load_keep_what_keras_loses(tmp_path):
    x = keras.Input((4, 8))
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    freeze(model, ["key", "value", "attention_output"])
    save(model, tmp_path / "m.keras")
    assert len(keras.models.load_model(tmp_path / "m.keras").trainable_weights) > 2  # the loss that the plan repairs
    again = load(tmp_path / "m.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights) == 2
    batch = np.ones((2, 4, 8), "float32")
    assert np.array_equal(model.predict(batch, verbose=0), again.predict(batch, verbose=0))
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.parametrize(
    ("path", "message"), [("nowhere.keras", "'.keras' file or a run folder"), ("text.keras", "cut short")]
)
def test_load_says_what_is_wrong(tmp_path, path, message):
    (tmp_path / "text.keras").write_text("no archive")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / path)


def test_save_refuses_other_suffixes(small_model, tmp_path):
    with pytest.raises(ValueError, match=r"\.keras"):
        save(small_model(), tmp_path / "m.h5")


def test_report_counts_by_hand(small_model):
    model = freeze(small_model(), "backbone")
    report = trainable_report(model)
    assert report.trainable == 8 * 3 + 3
    assert report.total == (27 * 8 + 8) + 2 * (72 * 8 + 8) + 3 * 32 + 27
    assert report.line == "trainable params: 27 || all params: 1,515 || trainable%: 1.7822"
    assert [row["state"] for row in report.rows] == ["nothing to train", "frozen", "nothing to train", "trains"]
    assert "<table>" in report._repr_html_()
    unfreeze(model, "top:1")
    assert trainable_report(model).rows[1]["state"] == "partly frozen"


def test_batch_norm_policy_is_checked(small_model):
    with pytest.raises(ValueError, match="'freeze' or 'train'"):
        unfreeze(small_model(), batch_norm="yes")


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="must be built"):
        freeze(keras.Sequential([keras.layers.Dense(3)]))


def test_a_composites_own_weights_freeze_and_come_back():
    model = scaled_model()
    unfreeze(freeze(model), "inner")
    assert len(model.trainable_weights) == 2
    unfreeze(model)
    assert len(model.trainable_weights) == 3
