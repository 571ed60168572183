"""`keras-transfer scan`: the table, JSON and page that it writes, its exit code, and that it is there in a blink."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from keras_transfer.cli.scan import scan


def command(*arguments: object) -> int:
    """Run the command alone, as the console script runs it."""
    app = typer.Typer(add_completion=False)
    app.command()(scan)
    code = typer.main.get_command(app).main(args=[str(one) for one in arguments], standalone_mode=False)
    return code if isinstance(code, int) else 0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for row in range(10):
            picture = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "photos" / label / f"{row}.png")
    return tmp_path / "photos"


def test_sound_pictures_exit_0(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(photos) == 0
    out = capsys.readouterr().out
    assert "20 pictures of 2 classes in 20 files" in out
    assert "Nothing found wrong." in out


def test_what_fit_refuses_exits_1_and_is_written(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "a" / "zero.png").write_bytes(b"")
    page, output = photos.parent / "scan.html", photos.parent / "scan.json"
    assert command(photos, "--json", "--html", page, "--output", output) == 1
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.read_text())
    assert [one["kind"] for one in told["findings"]] == ["empty_file"]
    assert "a/zero.png" in page.read_text()


def test_a_warning_does_not_fail(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (48, 48)).save(photos / "a" / "black.png")
    assert command(photos) == 0
    assert "a/black.png" in capsys.readouterr().out


def test_a_place_that_is_not_there_is_refused_before_the_work(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"must exist; make it first\. Received: .*nowhere"):
        command(photos, "--html", photos / "nowhere" / "x.html")


def test_it_needs_no_tensorflow(photos: Path) -> None:
    code = (
        "import sys; from keras_transfer.cli.scan import scan; from pathlib import Path; "
        "scan(Path(sys.argv[1]), html=Path(sys.argv[2]), as_json=True, output=None); "
        "print(sorted({'tensorflow', 'keras', 'jax', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-c", code, str(photos), str(photos.parent / "p.html")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip().splitlines()[-1] == "[]"
