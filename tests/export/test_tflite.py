"""`export_tflite`: a file with an `io.json` and a certificate, or no file at all."""

import gc
import json

import keras
import numpy as np
import pytest

from keras_transfer.core.files import sha256
from keras_transfer.data import ImageData
from keras_transfer.export import CertificateError, LiteRTModel, export_tflite, inference_model, tflite


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_certificate_tells_what_was_compared(exported):
    folder, _, certificate = exported
    assert left(folder) == ["io.json", "model_float32.tflite"]
    told = certificate.to_dict()
    assert told["passed"]
    assert told["reason"] is None
    assert (told["pictures"], told["split"], told["resize"], told["image_size"]) == (40, "given", "crop", [16, 16])
    assert told["max_difference"] <= 1e-4
    assert told["top1_agreement"] == 1.0
    assert told["bytes"] == (folder / "model_float32.tflite").stat().st_size
    assert told["sha256"] == sha256(folder / "model_float32.tflite")


def test_the_file_takes_one_picture_and_names_its_ends(exported):
    from ai_edge_litert.interpreter import Interpreter

    folder, model, _ = exported
    interpreter = Interpreter(str(folder / "model_float32.tflite"))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["picture"], "outputs": ["probabilities"]}
    }
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 16, 16, 3]
    x = np.full((1, 16, 16, 3), 200, "float32")
    answer = interpreter.get_signature_runner()(picture=x)["probabilities"]
    np.testing.assert_allclose(answer, inference_model(model)(x), atol=1e-5)


@pytest.mark.parametrize("precision", ["int4", "FLOAT32", None])
def test_other_precisions_are_refused(small, tmp_path, precision):
    with pytest.raises(ValueError, match=rf"are 'float32', 'float16', 'dynamic', 'int8'\. Received: {precision!r}"):
        export_tflite(small(), tmp_path / "model.tflite", precision)
    assert left(tmp_path) == []


def test_bad_arguments_are_refused_before_anything_is_written(small, pictures, tmp_path):
    for arguments, message in (
        ({"path": tmp_path / "model.bin"}, "end in '.tflite'"),
        ({"class_names": ["a", "b"]}, "must be 3 different names"),
        ({"class_names": ["a", "b", "b"]}, "must be 3 different names"),
        ({"resize": "stretch"}, "resize must be one of"),
        ({"data": pictures[0][:, :8]}, r"shape \(batch, 16, 16, 3\)"),
        ({"data": "photos"}, "arrays"),
        ({"data": pictures[0][:0]}, "at least one"),
        ({"path": tmp_path / "missing" / "model.tflite"}, "folder"),
    ):
        with pytest.raises(ValueError, match=message):
            export_tflite(small(), **{"path": tmp_path / "model.tflite", "data": pictures, **arguments})
    assert left(tmp_path) == []


def converts_another(monkeypatch, other):
    honest = tflite.convert
    monkeypatch.setattr(tflite, "convert", lambda inference, *how: honest(inference_model(other), *how))


def test_law_a_file_that_answers_otherwise_is_not_left(small, pictures, tmp_path, monkeypatch):
    model, path = small(), tmp_path / "model.tflite"
    converts_another(monkeypatch, small(seed=3))
    with pytest.raises(CertificateError, match="differs by") as error:
        export_tflite(model, path, data=pictures)
    assert not error.value.certificate.passed
    assert error.value.certificate.file == "model.tflite"
    assert left(tmp_path) == []


def test_law_the_file_of_an_earlier_export_goes_too(copied, small, pictures, monkeypatch):
    path = copied / "model_float32.tflite"
    converts_another(monkeypatch, small(seed=3))
    with pytest.raises(CertificateError):
        export_tflite(small(), path, data=pictures)
    assert left(copied) == []


def test_a_model_that_cannot_be_converted_fails_its_certificate(small, pictures, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("\n<unknown>: some op is neither a custom op nor a flex op\nmore")

    monkeypatch.setattr(tflite, "convert", refuse)
    with pytest.raises(CertificateError, match="converter refused the model: <unknown>: some op"):
        export_tflite(small(), tmp_path / "model.tflite", data=pictures)
    assert left(tmp_path) == []


def test_a_file_that_litert_cannot_load_fails_its_certificate(small, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "convert", lambda *arguments: b"no model")
    with pytest.raises(CertificateError, match="cannot load"):
        export_tflite(small(), tmp_path / "model.tflite", data=pictures)
    assert left(tmp_path) == []


def test_without_pictures_random_ones_are_used_and_said(small, tmp_path):
    certificate = export_tflite(small(augmentation=False, channels=1), tmp_path / "model.tflite")
    assert certificate.split == "random"
    assert certificate.pictures == 32
    assert "random" in str(certificate)
    model = LiteRTModel(tmp_path / "model.tflite")
    assert (model.labels, model.channels, model.resize) == (("0", "1", "2"), 1, "squash")


def test_image_data_gives_its_held_out_split_names_and_resize(small, pictures, tmp_path):
    x, y = pictures
    data = ImageData.from_arrays(x[:20], y[:20], class_names=["a", "b", "c"], test=(x[20:], y[20:]), resize="pad")
    certificate = export_tflite(small(), tmp_path / "model.tflite", data=data)
    assert (certificate.split, certificate.pictures, certificate.resize) == ("test", 20, "pad")
    assert LiteRTModel(tmp_path / "model.tflite").labels == ("a", "b", "c")


def test_an_open_picture_size_is_taken_from_the_data(pictures, tmp_path):
    layers = keras.layers
    open_size = [keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalMaxPooling2D(), layers.Dense(3)]
    model = keras.Sequential(open_size)
    with pytest.raises(ValueError, match="whose size it fixes or `data` tells"):
        export_tflite(model, tmp_path / "model.tflite")
    export_tflite(model, tmp_path / "model.tflite", data=pictures[0] / 255)
    assert LiteRTModel(tmp_path / "model.tflite").image_size == (16, 16)


def test_one_folder_holds_one_model(copied, exported, small, pictures):
    _, model, _ = exported
    names = ["ant", "bee", "wasp"]
    with pytest.raises(
        ValueError, match=r"of one model\. Export to another.*with model_float32.tflite, whose model answers"
    ):
        export_tflite(small(seed=5), copied / "other.tflite", data=pictures, class_names=names, resize="crop")
    with pytest.raises(ValueError, match=r"delete model_float32.tflite from .*whose model has other labels"):
        export_tflite(model, copied / "other.tflite", data=pictures, class_names=names[::-1], resize="crop")
    with pytest.raises(ValueError, match="whose model takes other pictures"):
        export_tflite(model, copied / "other.tflite", data=pictures, class_names=names, resize="pad")
    export_tflite(model, copied / "again.tflite", data=pictures[0][::-1], class_names=names, resize="crop")
    assert sorted(json.loads((copied / "io.json").read_text())["files"]) == ["again.tflite", "model_float32.tflite"]
    assert {LiteRTModel(path).precision for path in copied.glob("*.tflite")} == {"float32"}


def test_no_gradients_of_activations_stay_in_memory(tmp_path):
    """TensorFlow keeps, for ever, the graph of each gradient that it writes into a SavedModel: fifty an EfficientNet."""
    x = pixels = keras.Input((8, 8, 3))
    for _ in range(3):
        x = keras.layers.Conv2D(2, 3, padding="same", activation="silu")(x)
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    before = gradients_in_memory()
    assert export_tflite(model, tmp_path / "m.tflite").passed
    assert gradients_in_memory() == before


def gradients_in_memory():
    gc.collect()
    graphs = [one for one in gc.get_objects() if type(one).__name__ == "FuncGraph"]
    return sum(one.name == "internal_grad_fn" for one in graphs)
