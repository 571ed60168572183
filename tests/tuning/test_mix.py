"""Mixed pictures, class weights and the focal loss in the strategies: no cache, all stages, resumed exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.backbones import build_classifier
from keras_transfer.core import mixing
from keras_transfer.core.class_weights import balanced
from keras_transfer.tuning import Stage, feature_extraction, fine_tune, fit_stages, full, l2_sp

layers = keras.layers


def classifier(**settings):
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((16, 16, 3))
    for block in (1, 2, 3):
        x = layers.Conv2D(6, 3, strides=2, padding="same", name=f"conv{block}")(x)
        x = layers.ReLU(name=f"relu{block}")(layers.BatchNormalization(name=f"bn{block}")(x))
    settings = {"augmentation": "light", "preprocessing": "tf", **settings}
    return build_classifier(keras.Model(pixels, x), 3, **settings)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    y = np.arange(36) % 3
    x = random.integers(0, 100, (36, 16, 16, 3)).astype("uint8")
    x[np.arange(36), :, :, y] += 100
    return x, y


@pytest.fixture
def batches(monkeypatch):
    """The batches that a fit is given."""
    seen = []
    real = mixing.MixedBatches.__getitem__

    def noted(self, index):
        seen.append(real(self, index))
        return seen[-1]

    monkeypatch.setattr(mixing.MixedBatches, "__getitem__", noted)
    return seen


@pytest.mark.slow
def test_all_stages_see_mixed_pictures_and_say_once_that_nothing_is_cached(pictures, batches, capsys):
    model = classifier()
    before = model.get_weights()
    settings = {"epochs": 2, "head_epochs": 2, "views": 1, "batch_size": 12, "verbose": 2}
    history = fine_tune(model, *pictures, validation_data=pictures, mix="cutmix", **settings)
    said = capsys.readouterr().out
    assert said.count("nothing is cached") == 1
    assert "cutmix pairs pictures anew" in said
    assert "No cache" not in said
    assert len(history.epoch) == 6
    assert not np.array_equal(before[0], model.get_weights()[0])  # the last stage trains everything
    assert sum(((rows > 0).sum(-1) == 2).mean() > 0.3 for _, rows in batches) > 15
    assert all(x.shape == (12, 16, 16, 3) and x.min() >= 0 and x.max() <= 255 for x, _ in batches)
    assert model.evaluate(*pictures, verbose=0)[1] == pytest.approx(history.history["val_accuracy"][history.best_epoch])


@pytest.mark.slow
def test_frozen_layers_stay_and_the_head_learns(pictures):
    model = classifier(dropout=0.0)
    before = model.get_weights()
    history = feature_extraction(
        model, *pictures, validation_data=pictures, mix="mixup", epochs=25, patience=25, learning_rate=0.1, verbose=0
    )
    assert all(np.array_equal(a, b) for a, b in zip(before[:-2], model.get_weights()[:-2], strict=True))
    assert max(history.history["val_accuracy"]) > 0.9
    assert history.history["val_accuracy"][0] < 0.7


@pytest.mark.slow
def test_mixing_keeps_a_fit_from_being_sure(pictures):
    """Effect: a network that knows its pictures by heart is less sure of them; Zhang et al. 2018 call it less memorising."""
    sure = {}
    for mix in (None, "mixup"):
        model = classifier(weights=None, augmentation="none", dropout=0.0)
        full(model, *pictures, mix=mix, mix_strength=1.0 if mix else None, epochs=25, learning_rate=1e-2, verbose=0)
        sure[mix] = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(pictures[0], verbose=0))).max(-1).mean()
    assert sure["mixup"] < sure[None] - 0.02


def test_weights_of_classes_go_into_the_mixed_batches(pictures, batches):
    x, y = pictures[0], np.array([0] * 20 + [1] * 12 + [2] * 4)
    full(classifier(), x, y, mix="mixup", class_weight="balanced", epochs=1, batch_size=36, verbose=0)
    rows, weights = batches[-1][1:]
    of_class = np.array([balanced(y)[c] for c in range(3)])
    # weight * row = lambda w_i y_i + (1 - lambda) w_j y_j: over w, its sum is lambda + 1 - lambda
    np.testing.assert_allclose((weights[:, None] * rows / of_class).sum(-1), 1, rtol=1e-5)
    assert np.ptp(weights) > 1


@pytest.mark.slow
@pytest.mark.parametrize("one_hot", [False, True])
def test_balanced_is_the_dict_of_the_formula(one_hot, pictures):
    x, y = pictures[0], np.array([0] * 20 + [1] * 12 + [2] * 4)
    labels = np.eye(3)[y] if one_hot else y
    ends = []
    for weights in ("balanced", {0: 36 / 60, 1: 36 / 36, 2: 36 / 12}, None):
        model = classifier(dropout=0.0)
        feature_extraction(model, x, labels, class_weight=weights, epochs=3, views=1, verbose=0)
        ends.append(model.get_weights()[-2])
    assert np.array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).max() > 1e-4


@pytest.mark.slow
def test_an_anchored_model_is_pulled_while_pictures_are_mixed(pictures):
    ends = []
    for strength in (0.0, 100.0):
        model = l2_sp(classifier(), strength=strength)
        start = np.array(model.get_layer("backbone").get_layer("conv1").kernel)
        full(model, *pictures, mix="mixup", epochs=3, learning_rate=1e-2, verbose=0)
        ends.append(np.abs(np.array(model.get_layer("backbone").get_layer("conv1").kernel) - start).max())
    assert ends[1] < ends[0] / 2


class Own(keras.Model):
    def train_step(self, *args):
        return super().train_step(*args)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"mix": "cut"}, ValueError, "'mixup', 'cutmix' or None"),
        ({"mix_strength": 0.3}, ValueError, "needs `mix`"),
        ({"mix": "mixup", "metrics": ["sparse_categorical_accuracy"]}, ValueError, "rows of shares"),
        ({"mix": "mixup", "y": np.arange(36) % 4}, ValueError, "must be 0 to 2"),
        ({"class_weight": "even"}, ValueError, "'balanced', a dict"),
        ({"mix": "mixup", "x": "stream"}, TypeError, "by index"),
        ({"class_weight": "balanced", "x": "stream"}, ValueError, "{class: weight}"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(settings, error, message, pictures):
    x, y = pictures
    given = {"x": x, "y": y, "epochs": 1, "verbose": 0, **settings}
    if isinstance(given["x"], str):
        given |= {"x": tf.data.Dataset.from_tensor_slices(pictures).batch(9), "y": None}
    with pytest.raises(error, match=message):
        full(classifier(), **given)


def test_a_model_with_its_own_step_is_refused(pictures):
    model = classifier()
    with pytest.raises(ValueError, match="step of its own"):
        full(Own(model.inputs, model.outputs), *pictures, mix="mixup", epochs=1, verbose=0)


def test_a_stream_of_one_class_is_found_where_its_labels_are_read(pictures):
    data = tf.data.Dataset.from_tensor_slices((pictures[0], np.ones(36, int))).batch(9)
    with pytest.raises(ValueError, match=r"two classes\. Received: class 1"):
        feature_extraction(classifier(), data, epochs=2, views=1, verbose=0)


@pytest.mark.slow
def test_an_interrupted_training_goes_on_exactly(pictures, tmp_path):
    stages = [Stage("all", None, 3, 1e-3)]

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def train(folder, model, resume=False, **settings):
        keras.utils.set_random_seed(3)
        settings = {"mix": "cutmix", "loss": "focal", "keep": "last", "batch_size": 12, "verbose": 0} | settings
        return fit_stages(model, stages, *pictures, checkpoint=tmp_path / folder, resume=resume, **settings)

    whole, cut = classifier(), classifier()
    told = train("whole", whole)
    with pytest.raises(KeyboardInterrupt):
        train("cut", cut, callbacks=[Stop()])
    resumed = classifier()
    history = train("cut", resumed, resume=True)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history.history == told.history
    for other in ({"mix": "mixup"}, {"mix": None}, {"mix_strength": 0.5}, {"loss": None}):
        with pytest.raises(ValueError, match=f"had other {next(iter(other))}"):
            train("cut", classifier(), resume=True, **other)


TWO_DEVICES = """
from keras_transfer import tuning
from keras_transfer.backbones import build_classifier
from keras_transfer.core.devices import strategy

random = np.random.default_rng(0)
y = np.arange(44) % 3
x = random.integers(0, 200, (44, 16, 16, 3)).astype("float32")
weights = []
for place in (tf.distribute.get_strategy(), strategy("auto")):
    with place.scope():
        keras.utils.set_random_seed(0)
        pixels = keras.Input((16, 16, 3))
        h = keras.layers.Conv2D(6, 3, strides=2, name="conv")(pixels)
        h = keras.layers.Conv2D(6, 3, strides=2, name="conv2")(h)
        backbone = keras.Model(pixels, h)
        model = build_classifier(backbone, 3, augmentation="light", preprocessing="tf", dropout=0.0)
    settings = {"validation_data": (x[:10], y[:10]), "batch_size": 8, "verbose": 0}
    tuning.fine_tune(model, x, y, mix="cutmix", class_weight="balanced", epochs=2, head_epochs=2, **settings)
    weights.append([one.numpy() for one in model.weights])
print(max(float(np.abs(a - b).max()) for a, b in zip(*weights)))
"""


@pytest.mark.distributed
def test_two_devices_equal_one(two_devices):
    assert float(two_devices(TWO_DEVICES)) < 1e-5
