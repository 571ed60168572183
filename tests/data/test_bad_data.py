"""Every kind of bad data that we know, each with its sentence: it says what was expected, how to mend it, what came."""

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import ImageData, load_images

Write = Callable[..., Path]
Files = dict[str, Any]


def png(picture: Image.Image | None = None, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    (picture or Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))).save(
        file, kind
    )
    return file.getvalue()


def classes(prefix: str = "", names: Iterable[str] = "ab", start: int = 0, count: int = 3) -> Files:
    """Class folders `prefix/a`, `prefix/b` with different pictures."""
    return {f"{prefix}{name}/{i}.png": start + 10 * k + i for k, name in enumerate(names) for i in range(count)}


# kind -> (files, what the sentence must say)
LAYOUTS: dict[str, tuple[Files, str]] = {
    "nothing in it": ({}, "Expected one sub-folder of pictures per class"),
    "pictures without class folders": (
        {"1.png": 1, "2.png": 2},
        "found no sub-folder; sort the pictures into class folders",
    ),
    "only hidden folders": ({".a/1.png": 1, ".b/1.png": 2}, "found no sub-folder"),
    "a picture beside the class folders": (
        {**classes(), "lost.png": 50},
        "The picture 'lost.png' lies outside the class folders; move it into one or remove it",
    ),
    "a picture without suffix beside them": ({**classes(), "lost": png()}, "The picture 'lost' lies outside the class"),
    "a picture in the train folder itself": (
        {**classes("train/"), "train/lost.jpg": b""},
        "The picture 'lost.jpg' lies outside the class folders",
    ),
    "an empty class": ({**classes(), "c": None}, "The class folder 'c' is empty; add pictures or remove the folder"),
    "a class of hidden files": ({**classes(), "c/.x.png": 1}, "The class folder 'c' is empty"),
    "an empty class in val": (
        {**classes("train/"), **classes("val/", "a", 50), "val/b": None},
        "The class folder 'val/b' is empty",
    ),
    "a single class": (classes(names="a"), "at least two classes, found only 'a'; add one"),
    "one folder too high": ({"photos/a/1.png": 1, "photos/b/1.png": 2}, "if the classes are 'a', 'b', pass '.*photos'"),
    "a single class in train": (classes("train/", "a"), "at least two classes, found only 'a'"),
    "a class in val but not in train": (
        {**classes("train/"), **classes("val/", "abc", 50)},
        "The class 'c' is in 'val' but not in 'train'; give it training pictures or remove 'val/c'",
    ),
    "a class in test but not in train": (
        {**classes("train/"), **classes("test/", "ad", 50)},
        "The class 'd' is in 'test' but not in 'train'",
    ),
    "class folders beside split folders": (
        {**classes("train/"), **classes("val/", start=50), "ants/1.png": 90},
        r"Split folders \('train', 'val'\) lie beside other folders \('ants'\)",
    ),
    "splits inside the classes": (
        {**classes("a/", ["train", "val"]), **classes("b/", ["train", "val"], 50)},
        "The class folder 'a' holds split folders .* put the splits above the classes, as in train/a",
    ),
    "val and test without train": (
        {**classes("val/"), **classes("test/", start=50)},
        "A folder with 'test', 'val' needs a train folder beside it",
    ),
    "val and validation": (
        {**classes("train/"), **classes("val/", start=50), **classes("validation/", start=90)},
        "Two folders stand for the validation split, 'val' and 'validation'; keep one",
    ),
    "a train folder without classes": (
        {"train/1.png": 1, "val/2.png": 2},
        "The picture '1.png' lies outside the class",
    ),
    "an empty train folder": ({"train": None, **classes("val/")}, "The split folder 'train' holds no class folders"),
    "a class name of two lines": ({"a\nb/1.png": 1, "c/1.png": 2}, "A class name must be printable UTF-8 on one line"),
    "one picture a class": (classes(count=1), "none can be held out for validation; add pictures or a val split"),
    "one picture many times": (
        {f"{name}/{i}.png": k for k, name in enumerate("ab") for i in range(3)},
        "No class has two different pictures",
    ),
}


def assert_refused(sentence: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The message of the `ValueError` that the call must raise; it ends with what was received."""
    with pytest.raises(ValueError, match=f"(?s){sentence}") as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "Received: " in message.splitlines()[-1]
    assert len(message.splitlines()[0]) < 320
    assert message.isprintable() or "\n  " in message  # only a list of files takes more than a line
    return message


@pytest.mark.parametrize("on_bad", ["raise", "skip"])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_wrong_layout(write: Write, kind: str, on_bad: str) -> None:
    files, sentence = LAYOUTS[kind]
    assert_refused(sentence, load_images, write(files, folder="data"), image_size=8, on_bad=on_bad)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert_refused("The data folder must exist; check the path", load_images, tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(write: Write) -> None:
    root = write({"a.png": 1, "photos.zip": b"PK", "reviews.tsv": b"text", "packed.csv.gz": b"text"})
    assert_refused("not a file; pass the folder that holds the class folders", load_images, root / "a.png")
    assert_refused("not a file; unpack it and pass", load_images, root / "photos.zip")
    for table in ("reviews.tsv", "packed.csv.gz"):
        assert_refused(
            "not a file; pass .* tables of texts are for load_texts, fit, evaluate", load_images, root / table
        )


def test_a_folder_that_may_not_be_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(classes())

    def listdir(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", listdir)
    assert_refused("The folder cannot be read: Permission denied", load_images, root)


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "the file is empty"),
    "text": (b"hello", "it is no picture in a known format"),
    "truncated": (png()[:700], "truncated"),
    "damaged": (png()[:200] + bytes(400) + png()[600:], "broken|truncated"),
    "a float TIFF": (png(Image.new("F", (4, 4)), "TIFF"), "floating-point samples have no known range"),
    "a 32-bit TIFF": (png(Image.new("I", (4, 4)), "TIFF"), "32-bit or signed samples have no known range"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_read(write: Write, kind: str) -> None:
    content, reason = UNREADABLE[kind]
    root = write({**classes(), "a/bad.png": content})
    message = assert_refused(
        f"cannot be read as pictures: 1\\. .*--on-bad skip.*a/bad.png: .*({reason})", load_images, root
    )
    assert "on_bad='skip'" in message
    data = load_images(root, image_size=8, on_bad="skip")
    assert [name for name, _ in data.skipped] == ["a/bad.png"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({**classes(), "b/bomb.png": np.zeros((25, 25, 3), np.uint8)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # 625 pixels: Pillow itself would only warn
    assert_refused("b/bomb.png: it has more than 400 pixels", load_images, root)


def test_a_link_to_nothing_and_a_pipe(write: Write) -> None:
    root = write(classes())
    (root / "a" / "dangling.png").symlink_to(root / "gone.png")
    os.mkfifo(root / "b" / "pipe.png")
    assert_refused(
        "pictures: 2.*a/dangling.png: there is no such file.*b/pipe.png: it is not a file", load_images, root
    )


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="file names are Unicode there")
def test_a_name_that_is_not_utf8(write: Write) -> None:
    root = write(classes())
    os.rename(os.fsencode(root / "a" / "0.png"), os.fsencode(root / "a") + b"/caf\xe9.png")
    message = assert_refused("its name is not UTF-8", load_images, root)
    assert r"a/caf\xe9.png" in message
    assert load_images(root, image_size=8, on_bad="skip").skipped == [(r"a/caf\xe9.png", "its name is not UTF-8")]


def test_many_bad_files_are_counted_and_twenty_named(write: Write) -> None:
    root = write({**classes(), **{f"a/x{i:02d}.png": b"" for i in range(33)}})
    message = assert_refused("pictures: 33", load_images, root)
    assert message.count("the file is empty") == 20
    assert "x00.png" in message
    assert "x19.png" in message
    assert "... and 13 more" in message


def test_a_class_that_skipping_empties(write: Write) -> None:
    root = write({**classes(), "c/1.png": b"", "c/2.png": b"?"})
    assert_refused(
        "The class 'c' has no picture left after skipping 2; add good pictures", load_images, root, on_bad="skip"
    )


def test_a_class_whose_twins_empty_it(write: Write) -> None:
    root = write({**classes("train/"), **classes("val/")})
    assert_refused("The class 'a' has no picture left in train after skipping 6", load_images, root, on_bad="skip")


@pytest.mark.parametrize("on_bad", ["raise", "skip"])
@pytest.mark.parametrize("second", ["b/same.bmp", "val/b/same.bmp"])
def test_one_picture_under_two_labels(write: Write, second: str, on_bad: str) -> None:
    top = "train/" if "val" in second else ""
    more = classes("val/", start=50) if top else {}
    root = write({**classes(top), **more, second: 1})
    message = assert_refused("stands under two labels, 1 times", load_images, root, image_size=8, on_bad=on_bad)
    assert f"{top}a/1.png = {second}" in message or f"{second} = {top}a/1.png" in message


@pytest.mark.parametrize(("first", "second"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_one_picture_in_two_splits(write: Write, first: str, second: str) -> None:
    files = {**classes("train/"), **classes("val/", start=50), **classes("test/", start=100)}
    root = write({**files, f"{first}/a/x.png": 500, f"{second}/a/y.bmp": 500})
    sentence = f"is in two splits, 1 times, .* --on-bad skip .*{first}/a/x.png = {second}/a/y.bmp"
    assert_refused(sentence, load_images, root, image_size=8)


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "image_size": ({"image_size": 0}, "image_size must be a positive whole number"),
    "image_size of three": ({"image_size": (8, 8, 3)}, "image_size must be a positive whole number"),
    "resize": ({"resize": "stretch"}, "resize must be one of 'squash', 'crop', 'pad'"),
    "channels": ({"channels": 2}, r"channels must be 1 \(grey\), 3 \(RGB\) or 4"),
    "batch_size": ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
    "batch_size of a half": ({"batch_size": 2.5}, "batch_size must be a whole number"),
    "seed": ({"seed": -1}, "seed must be a whole number of at least 0"),
    "fraction of nothing": ({"validation_fraction": 0}, "validation_fraction must lie between 0 and 1"),
    "fraction of all": ({"validation_fraction": 1.0}, "validation_fraction must lie between 0 and 1"),
    "fraction in percent": ({"validation_fraction": 20}, "validation_fraction must lie between 0 and 1"),
    "fraction as text": ({"validation_fraction": "0.2"}, "validation_fraction must lie between 0 and 1"),
    "on_bad": ({"on_bad": "ignore"}, "on_bad must be 'raise' or 'skip'"),
    "labels": ({"labels": "binary"}, "labels must be 'int' or 'onehot'"),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_wrong_option(photos: Path, kind: str) -> None:
    options, sentence = OPTIONS[kind]
    assert_refused(sentence, load_images, photos, **options)


X = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
Y = np.arange(12) % 3
SOFT = np.full((12, 3), 1 / 3)
NAN = np.where(np.arange(12)[:, None, None, None] == 4, np.nan, X.astype("float32"))

ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "0..1": ({"x": X / 255}, "x of train must lie in 0..255, not in 0..1; multiply by 255"),
    "-1..1": ({"x": X / 127.5 - 1}, "must lie in 0..255, as pixels come from a file; undo any normalisation"),
    "above 255": ({"x": X.astype(int) * 2}, "must lie in 0..255"),
    "NaN": ({"x": NAN}, "must be finite; remove NaN and infinity. Received: 108 of them"),
    "infinity": ({"x": np.where(X[0, 0, 0, 0] == X, np.inf, X)}, "must be finite"),
    "text": ({"x": X.astype(str)}, "must hold numbers from 0 to 255"),
    "one picture": ({"x": X[0, 0], "y": Y[:6]}, r"must be pictures of shape \(n, height, width, channels\)"),
    "flat": ({"x": X.reshape(12, -1)}, "must be pictures of shape"),
    "video": ({"x": X[None]}, "must be pictures of shape"),
    "channels first": ({"x": X.transpose(0, 3, 1, 2)}, "move the channels last. Received: shape"),
    "two channels": ({"x": X[..., :2]}, "with 1, 3 or 4 channels"),
    "no pictures": ({"x": X[:0], "y": Y[:0]}, "must be pictures of shape"),
    "lengths": ({"y": Y[:-1]}, "y of train must have one label for each of the 12 pictures"),
    "label too large": ({"y": Y + 1}, r"y of train must lie in 0..2, .* Received: labels from 1 to 3"),
    "label below zero": ({"y": Y - 1}, "must lie in 0..2"),
    "fractions as labels": ({"y": Y + 0.5}, "y of train must be integers of shape"),
    "text labels": ({"y": np.array(list("abc") * 4)}, "y of train must be integers of shape"),
    "soft labels": ({"y": SOFT}, "y of train must be integers of shape|exactly one 1 in each row"),
    "two ones in a row": ({"y": np.ones((12, 3))}, "must have exactly one 1 in each row"),
    "too few columns": ({"y": np.eye(2)[Y % 2]}, "must have one column per class, 3"),
    "a class without pictures": ({"y": Y % 2}, r"Each class needs training pictures; 'c' \(label 2\) has none"),
    "class names as text": ({"class_names": "abc"}, "class_names must be a list of names"),
    "a name twice": ({"class_names": ["a", "b", "a"]}, "Each class needs a name of its own; 'a' stands twice"),
    "a single name": ({"class_names": ["a"], "y": Y * 0}, "A classifier needs at least two classes"),
    "validation without labels": ({"validation": X}, r"`validation` must be a pair \(x, y\)"),
    "validation in grey": (
        {"validation": (X[..., :1], Y)},
        "x of validation must have as many channels as x of train, 3",
    ),
    "validation label": ({"test": (255 - X, Y + 1)}, "y of test must lie in 0..2"),
    "a picture twice": ({"validation": (X[:3], Y[:3])}, r"is in two splits, 3 times.*train\[0\] = validation\[0\]"),
    "two labels": (
        {"x": np.concatenate([X[:11], X[:1]]), "y": Y},
        r"under two labels, 1 times.*train\[0\] = train\[11\]",
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_wrong_arrays(kind: str) -> None:
    change, sentence = ARRAYS[kind]
    arguments = {"x": X, "y": Y, "class_names": ["a", "b", "c"], **change}
    assert_refused(sentence, ImageData.from_arrays, **arguments)


def test_there_are_more_than_twenty_kinds() -> None:
    assert len(LAYOUTS) + len(UNREADABLE) + len(OPTIONS) + len(ARRAYS) > 70
