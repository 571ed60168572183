"""The folder of a run: refused before any work where it cannot be, never another's, never the data."""

import os

import pytest

from keras_transfer.cli.app import run as command
from keras_transfer.pipeline.folder import WRITER, check_output, free_name, run_folder


def test_it_appears_at_the_end_or_not_at_all(tmp_path):
    with run_folder(tmp_path / "deep" / "run") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "deep" / "run").exists()
    assert os.listdir(tmp_path / "deep") == ["run"]
    assert os.listdir(tmp_path / "deep" / "run") == ["a"]
    with pytest.raises(RuntimeError), run_folder(tmp_path / "new" / "run"):
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["deep"]


def test_a_run_that_is_being_written_keeps_its_name(tmp_path):
    with run_folder(tmp_path / "run"):
        assert free_name("run", tmp_path).name == "run-2"
        with pytest.raises(ValueError, match="being written"):
            check_output(tmp_path / "run", overwrite=True)


def test_what_a_killed_run_left_is_taken_over(tmp_path):
    left = tmp_path / ".run.partial"
    left.mkdir()
    (left / WRITER).write_text("999999999")
    with run_folder(tmp_path / "run") as folder:
        assert os.listdir(folder) == [WRITER]
    assert os.listdir(tmp_path) == ["run"]


def test_links_and_files_on_the_way_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for output, words in (("file/run", "is a file"), ("link", "not a link")):
        with pytest.raises(ValueError, match=words):
            check_output(tmp_path / output, overwrite=True)


def test_data_inside_the_output_is_not_replaced(photos, tmp_path, capsys, small):
    photos(tmp_path / "run" / "pics", {"red": 5, "blue": 5})
    for name in ("config.yaml", "model.keras"):
        (tmp_path / "run" / name).write_text("")
    assert command(["fit", "run/pics", *small, "--output", "run", "--overwrite"]) == 2
    assert "inside the output" in capsys.readouterr().err
    assert (tmp_path / "run" / "pics" / "red" / "0.png").is_file()


def test_a_training_that_diverges_fails_in_one_sentence(photos, tmp_path, capsys, small):
    photos(tmp_path / "p", {"red": 5, "blue": 5})
    assert command(["fit", "p", *small, "--learning-rate", "1e38", "--quiet"]) == 1
    assert "diverged" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["p"]
