"""The command line as a whole: what it offers, what its exit codes mean, and how fast it is there."""

import json
import os
import statistics
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from keras_transfer.cli import app
from keras_transfer.config import RunConfig

COMMANDS = {"demo", "scan", "advise", "fit", "evaluate", "predict", "compare", "export", "report", "list"}
HEAVY = ("numpy", "keras", "tensorflow", "jax", "PIL", "sklearn", "matplotlib", "h5py", "scipy")


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for the pipeline; what is put on it is what the commands call."""
    found = SimpleNamespace()
    for command in ("fit", "evaluate", "export", "demo"):
        monkeypatch.setattr(sys.modules[f"keras_transfer.cli.{command}"], "load", lambda room: found)
    return found


def test_contract_commands_and_options():
    command = typer.main.get_command(app.app)
    assert set(command.commands) == COMMANDS
    fit = {option: one for one in command.commands["fit"].params for option in (*one.opts, *one.secondary_opts)}
    assert set(fit) >= {
        "data",
        "--config",
        *(f"--{name.replace('_', '-')}" for name in RunConfig.model_fields if name != "data"),
    }
    for name, field in RunConfig.model_fields.items():
        if name != "data":
            shown = fit[f"--{name.replace('_', '-')}"].help
            assert field.description in shown
            if field.default not in (None, False) and not isinstance(field.default, tuple):
                assert f"[default: {field.default}]" in shown


def test_version(capsys):
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("keras-transfer ")


@pytest.mark.parametrize("arguments", [[], ["--help"], *([name, "--help"] for name in sorted(COMMANDS))])
def test_help_teaches(arguments, capsys):
    assert app.run(arguments) == 0
    out = capsys.readouterr().out
    assert "Usage: keras-transfer" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    if len(arguments) == 2 and arguments[0] != "demo":
        assert f"  keras-transfer {arguments[0]} " in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frob"], "No such command 'frob'. See: keras-transfer --help"),
        (["fit", "photos", "--epoch", "3"], "No such option"),
        (["fit", "photos", "--epochs", "many"], "Invalid value for '--epochs'"),
        (
            ["fit", "photos", "--epochs", "0"],
            "`epochs` must be a whole number of at least 1, or null. Received: 0 (int)",
        ),
        (["fit", "photos", "--resize", "stretch"], "Invalid value for '--resize'"),
        (
            ["fit", "photos", "--export", "int1"],
            "`export` must be a list of 'float32', 'float16', 'dynamic', 'int8'. Received: 'int1'",
        ),
        (["fit"], "`data` is needed"),
        (["fit", "photos", "--backbone", "resnet"], "Unknown backbone. Did you mean"),
        (["fit", "photos", "--config", "none.yaml"], "settings must exist. Received: 'none.yaml'"),
        (
            ["fit", "photos", "--weights", "none", "--strategy", "feature_extraction"],
            "leaves nothing to build on",
        ),
        (["predict", "none.tflite"], "Missing argument"),
        (["predict", "none.tflite", "none.jpg"], "Received: 'none.tflite'"),
        (["export", "run", "--precision", "int1"], "int1"),
    ],
)
def test_bad_input_is_2_and_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert app.run(arguments) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert not out
    assert not list(tmp_path.iterdir())


class RunFailed(RuntimeError):  # noqa: N818
    """By its name the command line knows it."""


class CertificateError(RuntimeError):
    """And this one."""


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("Bad. Received: 3"), 2, "Error: Bad. Received: 3\n"),
        (TypeError("Bad type."), 2, "Error: Bad type.\n"),
        (FileNotFoundError("No photos."), 2, "Error: No photos.\n"),
        (RunFailed("Accuracy 0.5 is below."), 1, "Failed: Accuracy 0.5 is below.\n"),
        (CertificateError("It differs."), 1, "Failed: It differs.\n"),
        (RuntimeError("deep\ndown"), 1, "Failed: RuntimeError: deep (KERAS_TRANSFER_DEBUG=1 shows the traceback.)\n"),
        (MemoryError(), 1, "Failed: MemoryError: no reason given (KERAS_TRANSFER_DEBUG=1 shows the traceback.)\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_contract_exit_codes(error, code, text, pipeline, capsys, monkeypatch):
    def fit(config):
        raise error

    pipeline.fit = fit
    monkeypatch.delenv(app.DEBUG, raising=False)
    assert app.run(["fit", "photos"]) == code
    assert capsys.readouterr().err == text
    monkeypatch.setenv(app.DEBUG, "1")
    assert app.run(["fit", "photos"]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code != 130)


def test_fit_takes_options_over_the_file_over_the_defaults(pipeline, capsys, tmp_path):
    seen = []

    def fit(config):
        seen.append(config)
        return SimpleNamespace(
            path="out", accuracy=0.9, macro_f1=0.8, split="test", samples=7, noun="pictures", seconds=3.2
        )

    pipeline.fit = fit
    file = tmp_path / "settings.yaml"
    file.write_text("data: photos\nepochs: 3\nquiet: true\nmixed_precision: true\n")
    given = ["--no-mixed-precision", "--seed", "0", "--min-accuracy", "0", "--export", "float32"]
    assert app.run(["fit", "--config", str(file), *given]) == 0
    assert capsys.readouterr() == ("", "")
    assert app.run(["fit", "flowers", "--config", str(file), "--no-quiet", "--epochs", "5"]) == 0
    assert capsys.readouterr().out == "accuracy 0.9000, macro F1 0.8000 on 7 test pictures, in 3 s -> out\n"
    assert [(one.data, one.epochs, one.mixed_precision) for one in seen] == [("photos", 3, False), ("flowers", 5, True)]
    assert (seen[0].seed, seen[0].min_accuracy, seen[0].export) == (0, 0, ("float32",))


def test_evaluate_export_and_demo_hand_over(pipeline, capsys, tmp_path):
    report = SimpleNamespace(to_dict=lambda: {"accuracy": 0.5})
    pipeline.evaluate_run = lambda run, data, on_bad, delimiter, say: (
        "test" if delimiter is None else delimiter,
        report,
    )
    pipeline.export_run = lambda run, precisions, data, say: [say(f"{run.name} {one} {data}") for one in precisions]
    pipeline.compress_run = lambda run, size, accuracy_drop, data: f"{run.name} {size} {accuracy_drop} {data}"
    pipeline.run_demo = lambda output, quiet: print(output, quiet)
    assert app.run(["evaluate", "run", "photos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"split": "test", "accuracy": 0.5}
    assert app.run(["evaluate", "run", "texts.csv", "--delimiter", ";", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == ";"
    assert app.run(["export", "run"]) == 0
    assert app.run(["demo", "--quiet", "--output", "here"]) == 0
    assert capsys.readouterr().out == "run float32 None\nhere True\n"
    assert app.run(["export", "run", "--precision", "int8", "--precision", "float16"]) == 0
    assert app.run(["export", "run", "--target", "2MB"]) == 0
    assert app.run(["export", "run", "--target", "2MB", "--accuracy-drop", "0.05", "--data", "there"]) == 0
    assert capsys.readouterr().out == "run int8 None\nrun float16 None\nrun 2MB 0.01 None\nrun 2MB 0.05 there\n"
    assert app.run(["export", "run", "--accuracy-drop", "0.05"]) == 2
    assert app.run(["export", "run", "--target", "2MB", "--precision", "int8"]) == 2
    told = capsys.readouterr().err
    assert "goes with --target" in told
    assert "give one of the two" in told


def test_list(capsys, tmp_path):
    assert app.run(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No runs in {tmp_path}.\n"
    run = tmp_path / "flowers"
    run.mkdir()
    (run / "model.keras").touch()
    (run / "config.yaml").write_text("data: photos\nbackbone: mobilenet_v2\nstrategy: full\n")
    (run / "metrics.json").write_text('{"validation": {"accuracy": 0.95}}')
    assert app.run(["list", str(tmp_path)]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["name", "path"]
    assert line.split()[0] == "flowers"
    assert "0.9500" in line
    assert app.run(["list", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["accuracy"] == 0.95


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"], ["list", "nowhere"]])
def test_the_light_commands_import_nothing_heavy(arguments, tmp_path):
    code = "import sys, json; from keras_transfer.cli.app import run; code = run(sys.argv[1:])\n"
    code += "print(json.dumps([code, sorted(sys.modules)]))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60)
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_they_are_there_under_a_second(arguments):
    def seconds() -> float:
        """Processor time: the clock on the wall would count what else the machine does."""
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "keras_transfer", *arguments], capture_output=True, check=True, timeout=60
        )
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert statistics.median(seconds() for _ in range(3)) < 1.0


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m keras_transfer --help | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env={**os.environ})
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["list", "--backbones"], ["list", "--backbones", "--json"]])
def test_a_reader_who_stops_reading_is_no_error(arguments):
    """`| head -1`, with less and with more than a buffer of output."""
    command = [sys.executable, "-c", "from keras_transfer.cli.app import main; main()", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
