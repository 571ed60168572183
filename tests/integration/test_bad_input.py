"""Bad input on the command line: one clear sentence on stderr, no traceback, exit code 2, nothing left behind."""

import os
import shutil

import pytest
from PIL import Image


def photos_with(make, tmp_path, change=lambda root: None):
    change(make(tmp_path / "photos", {"red": 5, "blue": 5}))
    return ["fit", "photos", "--weights", "none"]


def truncate(root):
    whole = (root / "red" / "0.png").read_bytes()
    (root / "red" / "0.png").write_bytes(whole[: len(whole) // 2])


def same_twice(root):
    shutil.copy(root / "red" / "0.png", root / "blue" / "copy.png")


def leak(root):
    for name in ("red", "blue"):
        shutil.copytree(root / name, root / "train" / name)
        shutil.move(root / name, root / "val" / name)


def foreign_class(root):
    for name in ("red", "blue"):
        shutil.move(root / name, root / "train" / name)
    (root / "val" / "green").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "val" / "green" / "a.png")


DATA = {
    "no such folder": (lambda root: shutil.rmtree(root), "must exist"),
    "a file, not a folder": (lambda root: (shutil.rmtree(root), root.write_text("x")), "not a file"),
    "no class folders": (lambda root: [shutil.rmtree(root / name) for name in ("red", "blue")], "one sub-folder"),
    "a single class": (lambda root: shutil.rmtree(root / "red"), "at least two classes"),
    "an empty class": (lambda root: [path.unlink() for path in (root / "red").iterdir()], "is empty"),
    "a truncated picture": (truncate, "--on-bad skip"),
    "a picture of zero bytes": (lambda root: (root / "red" / "0.png").write_bytes(b""), "--on-bad skip"),
    "not a picture": (lambda root: (root / "red" / "notes.txt").write_text("hello"), "notes.txt"),
    "one picture under two labels": (same_twice, "label"),
    "one picture in train and val": (leak, "skip"),
    "a class in val that is not in train": (foreign_class, "green"),
    "pictures beside the class folders": (lambda root: shutil.copy(root / "red" / "0.png", root / "x.png"), "outside"),
}
OPTIONS = {
    "an unknown option": (["--colour", "red"], "--colour"),
    "an unknown backbone": (["--backbone", "mobilenet_v9"], "mobilenet_v2"),
    "a weights file that is not there": (["--weights", "nowhere.weights.h5"], "nowhere.weights.h5"),
    "random features": (["--weights", "none", "--strategy", "feature_extraction"], "full"),
    "a word for a number": (["--epochs", "many"], "epochs"),
    "no epochs": (["--epochs", "0"], "epochs"),
    "an unknown resize": (["--resize", "stretch"], "squash"),
    "an output that exists": (["--weights", "none", "--output", "photos"], "--overwrite"),
    "overwriting what is no run": (["--weights", "none", "--output", "photos", "--overwrite"], "run folder only"),
    "a config that is not there": (["--config", "nowhere.yaml"], "nowhere.yaml"),
    "an unknown key in the config": (["--config", "bad.yaml"], "Did you mean 'epochs'"),
    "a picture size of nothing": (["--image-size", "0"], "image"),
}


@pytest.mark.parametrize("kind", DATA)
def test_bad_data(kind, photos, expect_refused, tmp_path):
    change, words = DATA[kind]
    expect_refused(photos_with(photos, tmp_path, change), words)


@pytest.mark.parametrize("kind", OPTIONS)
def test_bad_options(kind, photos, expect_refused, tmp_path):
    options, words = OPTIONS[kind]
    (tmp_path / "bad.yaml").write_text("epoch: 3\n")
    photos(tmp_path / "photos", {"red": 5, "blue": 5})
    expect_refused(["fit", "photos", *options], words)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "exists"), (b"no weights", "no whole HDF5 file"), ("cut short", "no whole HDF5 file")]
)
def test_weights_are_looked_at_before_the_pictures(content, words, photos, expect_refused, tmp_path, monkeypatch):
    import h5py

    import keras_transfer.data.images

    monkeypatch.setattr(keras_transfer.data.images, "load_images", None)  # calling it would be a crash
    photos(tmp_path / "photos", {"red": 5, "blue": 5})
    if content == "cut short":
        with h5py.File(tmp_path / "whole.h5", "w") as file:
            file["kernel"] = [1.0] * 1000
        content = (tmp_path / "whole.h5").read_bytes()[:-500]
    if content is not None:
        (tmp_path / "w.weights.h5").write_bytes(content)
    expect_refused(["fit", "photos", "--weights", "w.weights.h5"], words)


def test_weights_of_another_width_name_the_one_that_fits(photos, expect_refused, tmp_path, data_root):
    photos(tmp_path / "photos", {"red": 5, "blue": 5})
    weights = data_root / "backbones" / "mobilenet_0.25_128.weights.h5"
    arguments = ["fit", "photos", "--backbone", "mobilenet", "--image-size", "64", "--weights", str(weights)]
    expect_refused(arguments, "mobilenet_0.25")


def test_imagenet_without_a_network_names_the_way_out(photos, expect_refused, tmp_path, monkeypatch):
    import keras

    def offline(*args, **kwargs):
        raise Exception(
            "URL fetch failure on https://...: None -- [Errno -2] Name or service not known"
        )  # what Keras raises

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    photos(tmp_path / "photos", {"red": 5, "blue": 5})
    expect_refused(["fit", "photos", "--image-size", "96"], "--weights FILE|none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "nowhere", "photos"], "run is a folder"),
        (["export", "nowhere"], "run is a folder"),
        (["predict", "nowhere.tflite", "photos/red/0.png"], "nowhere.tflite"),
        (["predict", "lonely.tflite", "photos/red/0.png"], "io.json"),
        (["fit"], "data"),
        (["fitt", "photos"], "fit"),
    ],
)
def test_bad_commands(arguments, words, photos, expect_refused, tmp_path):
    photos(tmp_path / "photos", {"red": 5, "blue": 5})
    (tmp_path / "lonely.tflite").write_bytes(b"TFL3")
    expect_refused(arguments, words)


def test_a_finished_run_refuses_other_pictures(run, expect_refused, photos, tmp_path):
    photos(tmp_path / "new", {"red": 2, "green": 2})
    os.rename(tmp_path / "new" / "red", tmp_path / "new" / "redd")
    expect_refused(["evaluate", str(run), "new"], "Did you mean 'red'")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    expect_refused(["predict", str(run), "broken.png"], "broken.png")
