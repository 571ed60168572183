"""Small folders of photos that are made, not found: two colours under noise; and one run on them for all who only read it."""

import os

import numpy as np
import pytest
from PIL import Image


def make_photos(root, counts, seed=0, size=40):
    """`counts` maps `train/red` or `red` to a number of pictures; the class is in the colour."""
    random = np.random.default_rng(seed)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        channel = {"red": 0, "green": 1, "blue": 2}[folder.split("/")[-1]]
        for index in range(count):
            pixels = random.integers(0, 120, (size, size, 3))
            pixels[..., channel] += 120
            Image.fromarray(pixels.astype("uint8")).save(root / folder / f"{index}.png")
    return root


@pytest.fixture
def photos():
    return make_photos


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test in a folder of its own, where `saved_models/` may appear."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def expect_refused(capsys, tmp_path):
    """A function that runs a command and expects one sentence with `words`, exit code 2, and nothing left behind."""

    def expect(arguments, words):
        from keras_transfer.cli.app import run as command

        before = sorted(os.listdir(tmp_path))
        assert command(arguments) == 2
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert captured.err.startswith("Error: ")
        assert words in captured.err
        assert sorted(os.listdir(tmp_path)) == before

    return expect


@pytest.fixture(scope="session")
def preset(tmp_path_factory, text_classifier):
    """A tiny BERT and its tokenizer as a local preset folder of keras-hub."""
    folder = tmp_path_factory.mktemp("preset")
    model = text_classifier()
    model.get_layer("backbone").save_to_preset(str(folder))
    model.get_layer("preprocessing").tokenizer.save_to_preset(str(folder))
    return folder


SMALL = ["--backbone", "mobilenet_0.25", "--image-size", "32", "--augmentation", "none", "--weights", "none"]


@pytest.fixture
def small():
    """The options of a run that takes seconds: a small network from scratch, one epoch."""
    return [*SMALL, "--epochs", "1"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run: three colours, a test split, weights none, two epochs. Tests must not change it."""
    from keras_transfer.cli.app import run as command

    root = tmp_path_factory.mktemp("run")
    counts = {
        f"{split}/{colour}": n
        for split, n in (("train", 8), ("val", 4), ("test", 4))
        for colour in ("red", "green", "blue")
    }
    make_photos(root / "colours", counts)
    before = os.getcwd()
    os.chdir(root)
    try:
        assert command(["fit", "colours", *SMALL, "--epochs", "2"]) == 0
    finally:
        os.chdir(before)
    return root / "saved_models" / "colours"
