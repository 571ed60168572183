"""`keras-transfer report`: the page of a run written anew, with the pictures of its mistakes as long as they are there."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_transfer.evaluate import read_predictions
from keras_transfer.pipeline import report_run
from keras_transfer.pipeline.images import as_file


@pytest.fixture
def copy(run, tmp_path):
    """The run and its pictures, where a test may change them."""
    shutil.copytree(run, tmp_path / "saved_models" / "colours")
    shutil.copytree(run.parents[1] / "colours", tmp_path / "colours")
    return tmp_path / "saved_models" / "colours"


def mistakes(folder):
    report = read_predictions(folder / "predictions.csv")
    wrong = np.flatnonzero(~report.right)
    order = wrong[np.argsort(-report.confidence[wrong], kind="stable")][:12]
    return [report.names[index] for index in order]


def shown(page):
    """The name of each embedded picture, and the picture."""
    found = re.findall(r'<img alt="([^"]+)" src="data:image/\w+;base64,([^"]+)"', page.read_text("utf-8"))
    return {name: base64.b64decode(data) for name, data in found}


def test_law_it_is_the_page_that_fit_wrote(copy):
    before = (copy / "report.html").read_text("utf-8")
    (copy / "report.html").unlink()
    assert report_run(copy) == copy / "report.html"
    assert (copy / "report.html").read_text("utf-8") == before
    assert len(mistakes(copy)) > 0
    assert sorted(shown(copy / "report.html")) == sorted(mistakes(copy))


def test_the_pictures_are_those_of_the_files(copy, tmp_path):
    import io

    first = mistakes(copy)[0]
    Image.fromarray(np.full((40, 40, 3), (10, 20, 30), "uint8")).save(tmp_path / "colours" / first)
    found = Image.open(io.BytesIO(shown(report_run(copy))[first]))
    assert found.size == (32, 32)  # as the model saw it
    np.testing.assert_array_equal(np.asarray(found)[5, 5], (10, 20, 30))


def test_a_picture_that_has_gone_is_named(copy, tmp_path):
    first, *rest = mistakes(copy)
    (tmp_path / "colours" / first).unlink()
    page = report_run(copy)
    assert sorted(shown(page)) == sorted(rest)
    assert first in page.read_text("utf-8")


def test_data_that_has_moved(copy, tmp_path):
    (tmp_path / "colours").rename(tmp_path / "elsewhere")
    said = []
    assert shown(report_run(copy, say=said.append)) == {}
    assert said == [
        "The pictures of the run are not in colours any more; the report names them only (--data says where)."
    ]
    assert sorted(shown(report_run(copy, data="elsewhere", say=said.append))) == sorted(mistakes(copy))
    assert len(said) == 1
    with pytest.raises(ValueError, match=r"must exist; check the path\. Received: 'nowhere'"):
        report_run(copy, data="nowhere")


def test_figures_that_came_later_are_in_it(copy):
    certificate = json.loads((copy / "certificate.json").read_text())
    smaller = {**certificate["float32"], "precision": "int8", "file": "model_int8.tflite"}
    (copy / "certificate.json").write_text(json.dumps({**certificate, "int8": smaller}))
    assert "model_int8.tflite" in report_run(copy).read_text("utf-8")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"A run is a folder with model\.keras"):
        report_run(tmp_path)


def test_a_run_tells_its_blocks_and_its_calibration(run):
    history = json.loads((run / "history.json").read_text())
    blocks = history["stages"][0]["blocks"]
    assert [list(row) for row in blocks] == [["name", "state", "learning_rate"]] * 15
    assert {row["state"] for row in blocks} == {"trained"}  # without pretrained weights
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 <= metrics["test"]["expected_calibration_error"] <= 1
    assert "What was trained" in (run / "report.html").read_text("utf-8")


def test_it_needs_neither_keras_nor_tensorflow(copy):
    code = (
        "import sys; from pathlib import Path; from keras_transfer.cli.report import report;"
        "report(Path(sys.argv[1])); assert not {'tensorflow', 'keras', 'jax', 'matplotlib'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(copy)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{copy / 'report.html'}\n"


def test_a_name_that_is_no_text_is_that_of_its_file():
    assert as_file("a/\\udcff.jpg") == "a/\udcff.jpg"
    assert os.fsencode(as_file("a/\\udcff.jpg")) == b"a/\xff.jpg"
    assert as_file("a/b\\u0041.jpg") == "a/b\\u0041.jpg"


@pytest.mark.parametrize("content", ["", "- a", "a: [", "data: photos\n"])
def test_a_damaged_config_is_one_sentence(copy, capsys, content):
    from keras_transfer.cli.app import run as command

    (copy / "config.yaml").write_text(content)
    assert command(["report", str(copy)]) == 2
    told = capsys.readouterr().err
    assert "config.yaml must hold the settings that `fit` wrote. Received: " in told
    assert len(told.splitlines()) == 1


def test_a_damaged_config_hides_no_other_run(copy):
    from keras_transfer.pipeline import list_runs

    shutil.copytree(copy, copy.parent / "other")
    (copy / "config.yaml").write_text("")
    (copy.parent / "other" / "metrics.json").write_text("{}")
    found = {row["name"]: (row["backbone"], row["accuracy"]) for row in list_runs(copy.parent)}
    assert found["colours"][0] == "damaged"
    assert found["other"] == ("mobilenet_0.25", None)


def test_a_run_without_its_predictions_or_with_half_an_io_json(copy):
    (copy / "io.json").write_text("{}")
    with pytest.raises(ValueError, match=r"io\.json must be whole; export the run again\. Received: "):
        report_run(copy)
    (copy / "io.json").unlink()
    (copy / "predictions.csv").unlink()
    with pytest.raises(ValueError, match=r"A run to report on has predictions\.csv\. Received: "):
        report_run(copy)
