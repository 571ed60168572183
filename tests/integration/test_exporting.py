"""A finished run in other precisions, from the command line."""

import json
import shutil

import pytest

from keras_transfer.cli.app import run as command
from keras_transfer.export import CompressionError, Ladder, LiteRTModel
from keras_transfer.export.sizes import parse_size
from keras_transfer.pipeline import RunFailed, compress_run, export_run


@pytest.fixture
def copy(run, tmp_path):
    """The run again, free to be changed; its pictures lie where they were."""
    return shutil.copytree(run, tmp_path / "copy")


def colours(run):
    return str(run.parents[1] / "colours")


@pytest.mark.slow
def test_float16_beside_float32(run, copy, capsys):
    before = json.loads((copy / "certificate.json").read_text())
    assert command(["export", "copy", "--precision", "float16", "--data", colours(run)]) == 0
    assert "model_float16.tflite (float16" in capsys.readouterr().out
    found = json.loads((copy / "certificate.json").read_text())
    assert list(found) == ["float32", "float16"]
    assert found["float32"] == before["float32"]
    assert found["float16"]["passed"]
    assert found["float16"]["float32_latency_ms"]["1"] > 0
    assert found["float16"]["accuracy_before"] == json.loads((copy / "metrics.json").read_text())["test"]["accuracy"]
    assert found["float16"]["bytes"] < 0.6 * found["float32"]["bytes"]
    assert {LiteRTModel(path).precision for path in copy.glob("*.tflite")} == {"float32", "float16"}


def test_bad_input_is_told_before_anything_is_read(copy, capsys):
    assert command(["export", "copy", "--precision", "int4"]) == 2
    assert command(["export", "copy", "--target", "small"]) == 2
    told = capsys.readouterr().err
    assert "'dynamic', 'int8'. Received: 'int4'" in told
    assert "A size is a number of bytes" in told
    with pytest.raises(ValueError, match="at least one precision"):
        export_run(copy, [])


@pytest.mark.slow
def test_int8_and_the_ladder(run, copy, capsys):
    assert command(["export", "copy", "--precision", "int8", "--precision", "dynamic", "--data", colours(run)]) == 0
    found = json.loads((copy / "certificate.json").read_text())
    assert list(found) == ["float32", "dynamic", "int8"]
    assert found["int8"]["calibration"] == 24
    assert found["int8"]["bytes"] < 0.45 * found["float32"]["bytes"]
    capsys.readouterr()
    assert command(["export", "copy", "--target", "600kB", "--accuracy-drop", "1", "--data", colours(run)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "precision"


def test_where_nothing_fits_the_table_is_the_error(run, copy, capsys, monkeypatch):
    def nothing(model, path, **settings):
        raise CompressionError(Ladder((), parse_size(settings["size"]), settings["accuracy_drop"]))

    monkeypatch.setattr("keras_transfer.export.compress.compress_to", nothing)
    before = sorted(path.name for path in copy.iterdir())
    assert command(["export", "copy", "--target", "1kB", "--data", colours(run)]) == 1
    assert "No precision gives a file that fits" in capsys.readouterr().err
    assert sorted(path.name for path in copy.iterdir()) == before
    with pytest.raises(RunFailed, match="Tried"):
        compress_run(copy, "1kB", data=colours(run))
