"""`compress_to`: what fits, what is best of it, and what is left behind."""

import json
from dataclasses import replace

import pytest

from keras_transfer.export import CompressionError, Ladder, LiteRTModel, compress, compress_to, export_tflite, tflite
from keras_transfer.export.certificate import blank_certificate
from keras_transfer.export.sizes import in_bytes, parse_size


def step(precision, size, accuracy, ms, passed=True):
    blank = blank_certificate(f"model_{precision}.tflite", precision, (8, 8), "squash", "test")
    return replace(
        blank, passed=passed, reason=None if passed else "It differs.", bytes=size, accuracy_before=0.9,
        accuracy_after=accuracy, latency_ms={"1": ms, "2": ms},
    )  # fmt: skip


STEPS = (
    step("float32", 8_000_000, 0.90, 4.0),
    step("float16", 4_000_000, 0.90, 5.0),
    step("dynamic", 2_000_000, 0.89, 9.0),
    step("int8", 2_100_000, 0.89, 2.0),
)


@pytest.mark.parametrize(
    ("size", "drop", "chosen"),
    [
        (None, 0.01, "float32"),  # equal accuracy: the fastest
        (8_000_000, None, "float32"),
        (7_999_999, None, "float16"),
        (3_000_000, 0.01, "int8"),  # both fall by 0.01: the faster
        (2_050_000, 0.01, "dynamic"),
        (3_000_000, 0.009, None),
        (1_000, None, None),
    ],
)
def test_number_the_step_that_is_chosen(size, drop, chosen):
    ladder = Ladder(STEPS, size, drop)
    assert (ladder.chosen.precision if ladder.chosen else None) == chosen
    assert ladder.to_dict()["chosen"] == chosen
    assert [row["result"] == "kept" for row in ladder.rows()].count(True) == (chosen is not None)


def test_a_step_that_failed_its_certificate_never_fits():
    ladder = Ladder((step("float32", 10, 0.9, 1.0, passed=False), STEPS[3]), None, None)
    assert ladder.chosen.precision == "int8"
    assert ladder.rows()[0]["result"] == "failed: It differs."
    better = Ladder((STEPS[0], step("int8", 10, 0.95, 9.0)), None, 0.0)
    assert better.chosen.precision == "int8"  # a gain is no drop


def test_it_tells_what_was_tried():
    text = str(Ladder(STEPS, 3_000_000, 0.01))
    lines = text.splitlines()
    assert lines[0].split() == ["precision", "bytes", "accuracy", "drop", "agreement", "ms", "result"]
    assert "8 MB" in lines[1]
    assert lines[1].endswith("larger than 3 MB")
    assert lines[4].endswith("kept")
    error = CompressionError(Ladder(STEPS, 1000, 0.01))
    assert "at most 1 kB, accuracy down by at most 0.01" in str(error)
    assert "int8" in str(error)
    assert "<td>kept</td>" in Ladder(STEPS, None, None)._repr_html_()
    json.dumps(Ladder(STEPS, 3_000_000, 0.01).to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2MB", 2_000_000), ("500kB", 500_000), ("1.5 MiB", 1_572_864), ("12", 12), (12, 12), ("1 gb", 10**9)],
)
def test_number_sizes(text, size):
    assert parse_size(text) == size
    assert parse_size(None) is None


@pytest.mark.parametrize("bad", ["", "MB", "2 MBit", "-2MB", "0", 0, True, "2,5MB", "1e3"])
def test_sizes_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="A size is a number of bytes"):
        parse_size(bad)


def test_sizes_for_people():
    assert [in_bytes(count) for count in (999, 2_528_720, 10**6)] == ["0.999 kB", "2.53 MB", "1 MB"]


@pytest.fixture
def once(monkeypatch):
    """Every precision is converted once, for one model; a conversion takes seconds."""
    honest, kept = compress.convert, {}

    def convert(inference, shape, precision="float32", calibration=None):
        kept[precision] = kept.get(precision) or honest(inference, shape, precision, calibration)
        return kept[precision]

    monkeypatch.setattr(compress, "convert", convert)
    monkeypatch.setattr(tflite, "convert", convert)


@pytest.mark.slow
def test_effect_a_model_is_compressed_into_a_folder(mixed, labelled, tmp_path, once):
    given, model = labelled, mixed()
    export_tflite(model, tmp_path / "model_float32.tflite", data=given)
    whole = (tmp_path / "model_float32.tflite").stat().st_size
    ladder = compress_to(model, tmp_path, size=whole - 1, accuracy_drop=0.05, data=given, representative=given)
    chosen = ladder.chosen
    assert [one.precision for one in ladder.certificates] == ["float32", "float16", "dynamic", "int8"]
    assert chosen.bytes < whole
    assert chosen.precision != "float32"
    assert (chosen.accuracy_before, chosen.accuracy_after >= 0.95) == (1.0, True)
    assert ladder.path == tmp_path / f"model_{chosen.precision}.tflite"
    assert LiteRTModel(ladder.path).precision == chosen.precision
    assert {path.name for path in tmp_path.iterdir()} == {"io.json", "model_float32.tflite", ladder.path.name}
    with pytest.raises(CompressionError, match=r"No precision gives a file that fits \(at most 0.1 kB"):
        compress_to(model, tmp_path, size=100, data=given, representative=given)
    with pytest.raises(ValueError, match="must be of one model"):
        compress_to(mixed(seed=5), tmp_path, data=given, representative=given)
    assert len(list(tmp_path.iterdir())) == 3
    file = compress_to(model, tmp_path / "phone.tflite", accuracy_drop=None, data=given, representative=given)
    assert file.chosen.file == "phone.tflite"
    assert LiteRTModel(tmp_path / "phone.tflite").precision == file.chosen.precision


def test_bad_arguments_are_refused_before_anything_is_tried(small, pictures, tmp_path):
    for arguments, message in (
        ({"path": tmp_path / "model.bin"}, "ends in '.tflite'"),
        ({"path": tmp_path / "missing" / "model.tflite"}, "a folder that exists"),
        ({"size": "small"}, "A size is"),
        ({"accuracy_drop": 2}, "share from 0 to 1"),
        ({"representative": None}, "calibrated on training pictures"),
        ({"data": pictures[0]}, "labelled pictures"),
    ):
        given = {"path": tmp_path, "data": pictures, "representative": pictures[0], **arguments}
        with pytest.raises(ValueError, match=message):
            compress_to(small(), **given)
    assert list(tmp_path.iterdir()) == []
