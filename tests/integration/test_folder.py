"""The folder of a run: refused before any work where it cannot be, never another's, never the data."""

import os
import shutil
from pathlib import Path

import pytest

from keras_transfer.cli.app import run as command
from keras_transfer.pipeline.folder import RunFailed, check_output, free_name, run_folder
from keras_transfer.pipeline.partial import STATE, WRITER, unfinished


def write(folder, text, *names):
    for name in names or ("config.yaml", "model.keras"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder):
    """Every file under a folder, with what stands in it."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def fail(output, error, *names):
    """A run that writes some files and fails."""
    with run_folder(output) as folder:
        assert os.listdir(folder) == [WRITER]
        for name in names:
            write(folder, "new", name)
        raise error


def run_of(name, text):
    return {f"{name}/{file}": text for file in ("config.yaml", "model.keras")}


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


def test_a_finished_run_keeps_nothing_it_went_on_from(tmp_path):
    write(tmp_path / "run", "old")
    with run_folder(tmp_path / "run", overwrite=True) as folder:
        write(folder, "new", "config.yaml", "model.keras", STATE, "best.keras")
    assert tree(tmp_path) == run_of("run", "new")
    write(tmp_path / ".again.partial", "trained", "config.yaml", "model.keras", STATE)
    with pytest.raises(ValueError, match="pass --resume to finish it"):
        check_output(tmp_path / "again", overwrite=False)


def test_a_run_of_another_name_says_why(tmp_path, monkeypatch):
    from keras_transfer.config import make_config
    from keras_transfer.pipeline.choices import choose, renamed

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rev").mkdir()
    saved = tmp_path / "saved_models"

    def note(**given):
        config = make_config({"data": "rev", "weights": "none", **given})
        return renamed(config, choose(config).output)

    assert note() is None
    write(saved / "rev", "old")
    assert (
        note() == "Note: saved_models/rev is there already (--overwrite would replace it), so this run is called rev-2."
    )
    assert note(overwrite=True) is None
    with pytest.raises(ValueError, match=r"leave --resume out.*'saved_models/rev', where the run is finished"):
        note(resume=True)
    write(saved / ".rev-2.partial", "half", STATE)
    assert note(resume=True) is None
    with pytest.raises(ValueError, match=r"go on with --output saved_models/rev-2 --resume. "):
        note(resume=True, overwrite=True)
    shutil.rmtree(saved / ".rev-2.partial")
    write(saved / ".rev.partial", "half", STATE)
    with pytest.raises(ValueError, match=r"go on with --output saved_models/rev --resume --overwrite. "):
        note(resume=True)
    assert note(resume=True, overwrite=True) is None
    shutil.rmtree(saved)
    write(saved / ".rev.partial", "trained")
    assert "an unfinished run of saved_models/rev holds a trained model" in note()
    write(saved / ".rev.partial", str(os.getpid()), WRITER)
    assert "another run is being written to saved_models/rev, so" in note()
    shutil.rmtree(saved)
    write(saved / "rev", "mine", "notes.txt")
    assert note() == "Note: saved_models/rev is there already, so this run is called rev-2."


def test_a_finished_run_whose_name_was_taken_is_left_whole(tmp_path):
    context = run_folder(tmp_path / "run")
    write(context.__enter__(), "new", "config.yaml", "model.keras", STATE)
    write(tmp_path / "run", "other")
    with pytest.raises(RunFailed, match=r"could not take its name: .* It lies in .*\.run\.partial\."):
        context.__exit__(None, None, None)
    partial = {".run.partial/" + STATE: "new", **run_of(".run.partial", "new")}
    assert tree(tmp_path) == {**run_of("run", "other"), **partial}


@pytest.mark.parametrize("error", [PermissionError("in use"), KeyboardInterrupt()])
def test_the_old_run_comes_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch, error):
    write(tmp_path / "run", "old")
    real = Path.rename

    def refused(self, target):
        if self.name == ".run.partial":
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises((RunFailed, KeyboardInterrupt)), run_folder(tmp_path / "run", overwrite=True) as folder:
        write(folder, "new")
    assert tree(tmp_path) == {**run_of("run", "old"), **run_of(".run.partial", "new")}
    assert unfinished(tmp_path / "run") == tmp_path / ".run.partial"


class Killed(BaseException):
    """Stands for a process that ends in the middle: nothing behind it may run."""


@pytest.mark.parametrize("step", range(4))
def test_a_kill_in_the_last_steps_loses_neither_run(tmp_path, monkeypatch, step):
    """Whatever steps were done: the new run is at its name, or whole in `.partial` with its state, and the old one is there."""
    write(tmp_path / "run", "old")
    context = run_folder(tmp_path / "run", overwrite=True)
    folder = context.__enter__()
    write(folder, "new", "config.yaml", "model.keras", STATE)
    done = []

    def dying(real):
        def call(*args, **kwargs):
            if len(done) >= step:
                done.append("dead")
                raise Killed
            done.append(real)
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        with pytest.raises(Killed):
            context.__exit__(None, None, None)
    (tmp_path / ".run.partial" / WRITER).unlink(missing_ok=True)  # it was of a process that is dead
    found = tree(tmp_path)
    if step < 2:
        assert run_of(".run.partial", "new").items() <= found.items()
        assert ".run.partial/" + STATE in found
        with run_folder(tmp_path / "run", overwrite=True, resume=True) as folder:
            assert run_of("run", "old").items() <= tree(tmp_path).items()
    assert run_of("run", "new").items() <= tree(tmp_path).items()


def test_an_interrupted_run_is_not_lost_to_one_that_fails_at_once(tmp_path):
    write(tmp_path / ".run.partial", "hours", STATE)
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(tmp_path / "run", error)
        assert tree(tmp_path) == {".run.partial/" + STATE: "hours"}
    with pytest.raises(RuntimeError):
        fail(tmp_path / "run", RuntimeError, STATE)
    assert tree(tmp_path) == {".run.partial/" + STATE: "new"}
    with run_folder(tmp_path / "run"):
        pass
    assert tree(tmp_path) == {}


def test_an_interrupted_run_is_found_where_the_next_was_killed_at_once(tmp_path):
    write(tmp_path / ".run.partial.old", "hours", STATE)
    write(tmp_path / ".run.partial", "999999999", WRITER)
    assert unfinished(tmp_path / "run") == tmp_path / ".run.partial.old"
    with pytest.raises(RuntimeError):
        fail(tmp_path / "run", RuntimeError)
    assert tree(tmp_path) == {".run.partial/" + STATE: "hours"}
    os.rename(tmp_path / ".run.partial", tmp_path / ".run.partial.old")
    with run_folder(tmp_path / "run", resume=True) as folder:
        assert (folder / STATE).read_text() == "hours"
        assert unfinished(tmp_path / "run") is None  # it is being written


def test_a_trained_model_is_dropped_only_on_request(tmp_path):
    write(tmp_path / ".run.partial", "trained")
    with pytest.raises(ValueError, match="pass --overwrite to drop it"), run_folder(tmp_path / "run"):
        pass
    assert free_name("run", tmp_path).name == "run-2"
    assert free_name("run", tmp_path, resume=True).name == "run"
    assert tree(tmp_path) == run_of(".run.partial", "trained")
    with run_folder(tmp_path / "run", overwrite=True) as folder:
        write(folder, "new")
    assert tree(tmp_path) == run_of("run", "new")


def test_of_two_that_come_at_once_the_second_is_refused(tmp_path, monkeypatch):
    with run_folder(tmp_path / "run") as folder:
        monkeypatch.setattr("keras_transfer.pipeline.folder.being_written", lambda partial: False)  # looked too early
        with pytest.raises(ValueError, match="Another run is being written"), run_folder(tmp_path / "run"):
            pass
        write(folder, "first")
    assert tree(tmp_path) == run_of("run", "first")


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


@pytest.mark.slow
def test_a_training_that_diverges_fails_in_one_sentence(photos, tmp_path, capsys, small):
    photos(tmp_path / "p", {"red": 5, "blue": 5})
    assert command(["fit", "p", *small, "--learning-rate", "1e38", "--quiet"]) == 1
    assert "diverged" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["p"]
