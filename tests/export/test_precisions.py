"""float16, dynamic and int8: what stands in the files, what proves them, and what they are refused for."""

import json

import numpy as np
import pytest

from keras_transfer.data import ImageData
from keras_transfer.export import CertificateError, LiteRTModel, export_tflite, tflite
from keras_transfer.export.calibration import PICTURES, Calibration, find_calibration, spread

NAMES = ["ant", "bee", "wasp"]


@pytest.fixture(scope="module")
def data(labelled):
    x, y = labelled
    return ImageData.from_arrays(x[:20], y[:20], class_names=NAMES, validation=(x[20:], y[20:]))


@pytest.fixture(scope="module")
def all_four(tmp_path_factory, mixed, data):
    """One model in all precisions, in one folder: the folder, the model, the certificates."""
    folder, model = tmp_path_factory.mktemp("all"), mixed()
    found = {
        precision: export_tflite(model, folder / f"model_{precision}.tflite", precision, data=data)
        for precision in ("float32", "float16", "dynamic", "int8")
    }
    return folder, model, found


def constants(path):
    """Every constant of a file: (array, scales, zero points)."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    found = []
    for one in interpreter.get_tensor_details():
        try:
            value = interpreter.get_tensor(one["index"])
        except ValueError:  # an activation: nothing is in it yet
            continue
        how = one["quantization_parameters"]
        found.append((value, how["scales"], how["zero_points"]))
    return found


def conv_kernel(model):
    """The first convolution as LiteRT holds it: (out, height, width, in), with the factor of the Rescaling before it."""
    return np.asarray(model.get_layer("conv").kernel).transpose(3, 0, 1, 2) / 127.5


def test_number_int8_weights_are_rounded_symmetrically_per_channel(all_four):
    folder, model, _ = all_four
    kernel = conv_kernel(model)
    scales = np.abs(kernel).max((1, 2, 3)) / 127  # r = s q, z = 0 (Jacob et al. 2018, section 2)
    expected = np.rint(kernel / scales[:, None, None, None])
    (found,) = [one for one in constants(folder / "model_int8.tflite") if one[0].shape == kernel.shape]
    assert found[0].dtype == np.int8
    np.testing.assert_allclose(found[1], scales, rtol=1e-5)
    assert not found[2].any()
    assert np.abs(found[0] - expected).max() <= 1
    assert (found[0] != expected).mean() < 0.01


def test_number_float16_weights_are_the_nearest(all_four):
    folder, model, _ = all_four
    kernel = conv_kernel(model)
    (found,) = [
        value for value, *_ in constants(folder / "model_float16.tflite")
        if value.shape == kernel.shape and value.dtype == np.float16
    ]  # fmt: skip
    half_a_step = 2.0**-11 * np.abs(kernel) + 2.0**-25  # of 11 bits, and below 2^-14 of multiples of 2^-24
    assert (np.abs(found - kernel) <= half_a_step * 1.001).all()


def test_the_certificates(all_four, data):
    _, _, found = all_four
    for precision, one in found.items():
        told = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert told["passed"]
        assert (told["split"], told["pictures"], told["precision"]) == ("validation", 20, precision)
        assert told["calibration"] == (20 if precision == "int8" else None)
        assert sorted(told["latency_ms"]) == ["1", "2"]
        assert all(value > 0 for value in told["latency_ms"].values())
        assert (told["float32_latency_ms"] is None) == (precision == "float32")
        assert told["accuracy_before"] == found["float32"].accuracy_before
    assert found["float32"].max_difference < 1e-5 < found["float16"].max_difference < 1e-2
    whole = found["float32"].bytes
    for one, share in zip(found.values(), (1.0, 0.6, 0.4, 0.4), strict=True):
        assert one.bytes <= share * whole
    assert found["float32"].accuracy_before == 1.0
    assert "float32" in str(found["int8"]).splitlines()[-1]


def test_the_files_share_io_json_and_answer_in_float32(all_four, data):
    folder, _, found = all_four
    io = json.loads((folder / "io.json").read_text())
    assert list(io["files"]) == [f"model_{precision}.tflite" for precision in found]
    x, y = data.splits["validation"].gather(np.arange(20))
    for precision, certificate in found.items():
        file = LiteRTModel(folder / f"model_{precision}.tflite")
        assert file.precision == precision
        answers = file.predict(x)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers.sum(1), 1, atol=0.02)
        assert (answers.argmax(1) == y).mean() == pytest.approx(certificate.accuracy_after)


@pytest.mark.parametrize(("precision", "step"), [("float16", 0.02), ("int8", 0.3)])
def test_effect_an_answer_off_the_record_is_refused(all_four, tmp_path, precision, step):
    import shutil

    copy = shutil.copytree(all_four[0], tmp_path / "copy")
    io = json.loads((copy / "io.json").read_text())
    entry = io["files"][f"model_{precision}.tflite"]
    entry["expected"][0] += step / 4
    (copy / "io.json").write_text(json.dumps(io))
    LiteRTModel(copy / f"model_{precision}.tflite")
    entry["expected"][0] += step
    (copy / "io.json").write_text(json.dumps(io))
    with pytest.raises(ValueError, match="answer the reference picture"):
        LiteRTModel(copy / f"model_{precision}.tflite")
    del entry["expected"]
    (copy / "io.json").write_text(json.dumps(io))
    with pytest.raises(ValueError, match=r"missing \['expected'\]"):
        LiteRTModel(copy / f"model_{precision}.tflite")


def test_int8_is_never_calibrated_on_held_out_or_random_pictures(small, pictures, tmp_path):
    for data in (None, pictures, pictures[0]):
        with pytest.raises(ValueError, match=r"calibrated on training pictures.*representative.*Received"):
            export_tflite(small(), tmp_path / "model.tflite", "int8", data=data)
    with pytest.raises(ValueError, match="is for precision 'int8'"):
        export_tflite(small(), tmp_path / "model.tflite", "dynamic", data=pictures, representative=pictures[0])
    x, y = pictures
    for wrong in (x[:, :8], x[0], "photos", x[:0], (x, y[:-1])):
        with pytest.raises(ValueError, match=r"representative|equally many"):
            export_tflite(small(), tmp_path / "model.tflite", "int8", data=pictures, representative=wrong)
    assert list(tmp_path.iterdir()) == []


def test_effect_calibration_decides(mixed, labelled, tmp_path):
    """Pictures as dark as none of the real ones: the ranges are cut, and the certificate sees it."""
    good = export_tflite(mixed(), tmp_path / "good.tflite", "int8", data=labelled, representative=labelled)
    assert good.calibration == 40
    dark = labelled[0] // 64
    with pytest.raises(CertificateError, match="top class differs") as error:
        export_tflite(mixed(), tmp_path / "bad.tflite", "int8", data=labelled, representative=dark)
    assert error.value.certificate.max_difference > good.max_difference
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.tflite", "io.json"]


def test_every_kind_of_representative_gives_the_same_pictures(data, pictures):
    x = pictures[0][:20]
    given = (data, data.splits["train"], x, (x, pictures[1][:20]), (x, np.eye(3)[pictures[1][:20]]))
    for one in given:
        found = find_calibration(None, one, (16, 16, 3))
        np.testing.assert_array_equal(np.concatenate(list(found.pictures())), x.astype("float32"))
    assert find_calibration(data, None, (16, 16, 3)).samples is data.splits["train"]


def test_number_the_spread_over_classes():
    targets = np.repeat([0, 1, 2], [100, 6, 50])
    chosen = spread(targets, 30)
    assert np.bincount(targets[chosen]).tolist() == [12, 6, 12]
    assert len(set(chosen.tolist())) == 30
    assert (chosen[0], chosen[11]) == (0, 99)
    assert spread(targets, 200).tolist() == list(range(156))
    assert spread(11, 3).tolist() == [0, 5, 10]
    many = np.arange(1000) % 500
    assert len(set(many[spread(many, 100)].tolist())) == 100
    x = np.zeros((300, 1, 1, 3), "uint8")
    from keras_transfer.core.source import ArraySource

    assert len(Calibration(ArraySource(x, np.zeros(300)), None)) == PICTURES == 100


def test_converter_errors_of_int8_fail_the_certificate(small, data, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "convert", lambda *arguments: 1 / 0)
    with pytest.raises(CertificateError, match=r"int8 export failed.*division"):
        export_tflite(small(), tmp_path / "model.tflite", "int8", data=data)


@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
@pytest.mark.parametrize("weight", [1e16, np.nan])
def test_a_weight_beyond_16_bits_fails_the_certificate(small, data, tmp_path, precision, weight):
    """int8 would end the process within the converter, without an exception."""
    model = small()
    kernel = model.trainable_weights[-2]
    kernel.assign(np.full(kernel.shape, weight))
    with pytest.raises(CertificateError, match="no number that 16 bits hold"):
        export_tflite(model, tmp_path / "m.tflite", precision, data=data)
    assert not list(tmp_path.iterdir())
