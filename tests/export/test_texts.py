"""Text models as files: token ids in, the vocabulary beside, strings for serving; each proved against Keras."""

import json
import shutil

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.data import TextData
from keras_transfer.export.io_json import read_io
from keras_transfer.export.parity import judge


@pytest.fixture(scope="module")
def data(reviews):
    return TextData.from_arrays(*reviews, class_names=["bad", "good"])


@pytest.fixture(scope="module")
def model(text_classifier, data):
    made = text_classifier(pooling="mean")
    kt.tuning.linear_probe(made, data, verbose=0)
    return made


@pytest.fixture(scope="module")
def exported(model, data, tmp_path_factory):
    """A folder with the float32 and the dynamic file of one model, and their certificates."""
    folder = tmp_path_factory.mktemp("exported")
    made = {
        name: kt.export_tflite(model, folder / f"model_{name}.tflite", name, data=data)
        for name in ("float32", "dynamic")
    }
    return folder, made


TEXTS = ["a good film", "the film was very bad , poor ."]


def test_the_inference_model_gives_probabilities_whatever_the_length(model):
    inference = kt.inference_model(model)
    ids = np.array([[2, 7, 10, 3]], "int32")
    p = inference.predict(ids, verbose=0)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, inference.predict(np.pad(ids, ((0, 0), (0, 9))), verbose=0), atol=1e-5)


def test_the_report_on_texts(model, data):
    report = kt.evaluate(model, data)
    assert report.accuracy >= 0.9
    assert report.class_names == ("bad", "good")
    assert report.names == tuple(data.splits["validation"].names)
    x, _ = data.tokenized(model).splits["validation"].gather(np.arange(len(report.names)))
    np.testing.assert_array_equal(report.predicted, model.predict(x, verbose=0).argmax(1))


def test_the_certificate_is_about_texts(exported):
    folder, made = exported
    one = made["float32"]
    assert one.passed
    assert one.max_difference < 1e-5
    assert one.top1_agreement == 1.0
    assert (one.split, one.length) == ("validation", 16)
    told = one.to_dict()
    assert "image_size" not in told
    assert "resize" not in told
    assert "texts of 16 tokens" in str(one)
    assert json.loads(json.dumps(told))["length"] == 16
    assert made["dynamic"].passed
    assert {path.name for path in folder.iterdir()} == {
        "io.json", "model_float32.tflite", "model_dynamic.tflite", "tokenizer.json", "vocabulary.txt"
    }  # fmt: skip


def test_the_file_answers_token_ids_and_strings_as_the_model_does(exported, model):
    folder, _ = exported
    lite = kt.export.LiteRTModel(folder / "model_float32.tflite")
    ids, _ = model.get_layer("preprocessing").encode(TEXTS)
    wanted = kt.export.serving_model(model).predict(TEXTS)
    np.testing.assert_allclose(lite.predict(ids), wanted, atol=1e-5)
    np.testing.assert_allclose(lite.predict(TEXTS), wanted, atol=1e-5)
    np.testing.assert_allclose(lite.predict(TEXTS[0]), wanted[:1], atol=1e-5)
    np.testing.assert_allclose(lite.predict(ids[0]), wanted[:1], atol=1e-5)
    assert lite.predict([]).shape == (0, 2)
    with pytest.raises(ValueError, match="at most 16"):
        lite.predict([np.arange(40)])
    with pytest.raises(ValueError, match="whole numbers"):
        lite.predict(np.zeros((2, 4)))


def test_the_file_is_measured_on_texts(exported, model, data):
    folder, _ = exported
    lite = kt.export.LiteRTModel(folder / "model_float32.tflite")
    assert kt.evaluate(lite, data).accuracy == kt.evaluate(model, data).accuracy
    x, y = data.tokenized(model).splits["validation"].gather(np.arange(4))
    assert len(kt.evaluate(lite, (x, y)).targets) == 4


def test_a_vocabulary_that_is_not_the_models_is_noticed(exported, tmp_path):
    folder, _ = exported
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "vocabulary.txt").write_text("another\n")
    lite = kt.export.LiteRTModel(tmp_path / "copy" / "model_float32.tflite")
    assert lite.predict([np.array([2, 7, 3])]).shape == (1, 2)
    with pytest.raises(ValueError, match=r"vocabulary.txt beside the file must be the one"):
        lite.predict(TEXTS)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", [1, 9], "input/shape"),
        ("dtype", "float32", "input/dtype"),
        ("vocabulary", {"../secret": "0"}, "input/vocabulary"),
        ("pad_id", "0", "of type int"),
        ("channels", 3, "foreign"),
    ],
)
def test_an_io_json_that_does_not_fit_is_refused(exported, tmp_path, key, value, message):
    found = json.loads((exported[0] / "io.json").read_text())
    found["input"][key] = value
    (tmp_path / "io.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=message):
        read_io(tmp_path / "io.json")


def test_another_model_does_not_share_the_folder(exported, text_classifier, data):
    with pytest.raises(ValueError, match="must be of one model"):
        kt.export_tflite(text_classifier(pooling="max"), exported[0] / "other.tflite", data=data)
    assert not (exported[0] / "other.tflite").exists()


def test_without_texts_random_ids_prove_the_file(text_classifier, tmp_path):
    one = kt.export_tflite(text_classifier(layers=1, words=None), tmp_path / "m.tflite")
    assert (one.split, one.pictures, one.passed) == ("random", 32, True)
    assert {path.name for path in tmp_path.iterdir()} == {"io.json", "m.tflite"}
    with pytest.raises(ValueError, match="without a tokenizer"):
        kt.export.LiteRTModel(tmp_path / "m.tflite").predict(TEXTS)
    with pytest.raises(ValueError, match="has no tokenizer"):
        kt.export.serving_model(text_classifier(layers=1, words=None))


def test_a_saved_model_takes_strings(model, data, tmp_path):
    import tensorflow as tf

    folder = kt.export.export_saved_model(model, tmp_path / "served", data)
    loaded = tf.saved_model.load(str(folder))
    answers = loaded.signatures["serving_default"](text=tf.constant(TEXTS))["probabilities"].numpy()
    np.testing.assert_allclose(answers, kt.export.serving_model(model).predict(TEXTS), atol=1e-5)
    with pytest.raises(ValueError, match="must not exist yet"):
        kt.export.export_saved_model(model, tmp_path / "served")
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


@pytest.mark.slow
def test_a_saved_model_of_pairs(text_classifier, reviews, tmp_path):
    texts, labels = reviews
    pairs = TextData.from_arrays(list(zip(texts, texts[::-1], strict=True)), labels)
    served = text_classifier(layers=1)
    kt.export.export_saved_model(served, tmp_path / "pairs", pairs)
    one = kt.export.serving_model(served)
    np.testing.assert_allclose(one.predict(TEXTS, batch_size=1, verbose=0), one.predict(TEXTS), atol=1e-5)
    with pytest.raises(ValueError, match="`batch_size` must be a whole number of at least 1"):
        one.predict(TEXTS, batch_size=0)
    for given in (np.array(TEXTS), [text.encode() for text in TEXTS], iter(TEXTS)):
        np.testing.assert_array_equal(one.predict(given), one.predict(TEXTS))
    np.testing.assert_array_equal(one.predict(TEXTS[0].encode()), one.predict(TEXTS[0]))
    for wrong in (3, None, {"text": TEXTS}):
        with pytest.raises(TypeError, match="Give a text, or a list of texts"):
            one.predict(wrong)
    with pytest.raises(ValueError, match=r"a string. Received: 3"):
        one.predict(["good", 3])
    with pytest.raises(ValueError, match="`verbose` must be 'auto', 0 or 1"):
        one.predict(TEXTS, verbose="silent")
    assert one.predict(("a good film", "very bad")).shape == (1, 2)
    assert not np.allclose(one.predict(("a good film", "very bad")), one.predict(("very bad", "a good film")))


@pytest.mark.slow
def test_mixed_precision_and_int8(text_classifier, data, tmp_path):
    """The float32 twin of a mixed model is exported; int8 either proves itself or leaves no file."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = text_classifier(layers=1)
    finally:
        keras.config.set_dtype_policy(before)
    assert kt.export_tflite(mixed, tmp_path / "m.tflite", data=data).passed
    kept, failed = tmp_path / "m8.tflite", ""
    try:
        kt.export_tflite(mixed, kept, "int8", data=data)
    except kt.export.CertificateError as error:
        failed = str(error)
    assert kept.exists() == (not failed)
    assert not failed or "top class differs" in failed


def test_a_folder_of_pictures_takes_no_texts(model, data, tmp_path):
    layers = [keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    kt.export_tflite(keras.Sequential(layers), tmp_path / "pictures.tflite")
    with pytest.raises(ValueError, match="whose model takes no texts"):
        kt.export_tflite(model, tmp_path / "texts.tflite", data=data)


def test_a_failed_certificate_counts_texts(exported):
    _, made = exported
    one, other = np.eye(2, dtype="float32"), np.eye(2, dtype="float32")[::-1]
    assert "top class differs on 2 of 2 texts" in judge(one, other, made["dynamic"]).reason
