"""load_images and from_arrays: what the splits hold, that pixels are the same on every way, and how order changes."""

import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_transfer.core.source import Source
from keras_transfer.data import ImageData, load_images, load_picture, reading
from keras_transfer.data.pictures import InMemory, OnDisk
from keras_transfer.data.resize import resize

Write = Callable[..., Path]


@pytest.fixture(params=["memory", "disk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    if request.param == "disk":
        monkeypatch.setattr(reading, "MEMORY_LIMIT", 0)
    return InMemory if request.param == "memory" else OnDisk


def test_class_folders_are_split_by_class(photos: Path) -> None:
    data = load_images(photos, image_size=8)
    assert data.class_names == ("ants", "bees")
    assert {split: np.bincount(part.y).tolist() for split, part in data.splits.items()} == {
        "train": [8, 4],
        "validation": [2, 1],
    }
    names = [*data.splits["train"].names, *data.splits["validation"].names]
    assert sorted(names) == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    assert data.test is None
    assert data.held_out == ("validation", data.splits["validation"])


def test_the_split_is_repeatable_and_moves_with_the_seed(photos: Path) -> None:
    def held_out(**options: Any) -> list[str]:
        return load_images(photos, image_size=8, **options).splits["validation"].names

    assert held_out(seed=1) == held_out(seed=1)
    assert len({tuple(held_out(seed=seed)) for seed in range(8)}) > 1
    assert len(held_out(validation_fraction=0.5)) == 8  # floor(10 / 2 + 1/2) + floor(5 / 2 + 1/2)


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val"), ["train", "validation"]),
        (("Train", "VALID", "Test"), ["train", "validation", "test"]),
        (("training", "validation", "testing"), ["train", "validation", "test"]),
        (("train", "test"), ["train", "validation", "test"]),
        (("train",), ["train", "validation"]),
    ],
)
def test_split_folders_are_used_and_validation_is_made_where_it_lacks(
    write: Write, folders: tuple[str, ...], splits: list[str]
) -> None:
    files = {
        f"{f}/{c}/{i}.png": 100 * k + 10 * j + i
        for k, f in enumerate(folders)
        for j, c in enumerate("ab")
        for i in range(5)
    }
    data = load_images(write(files), image_size=8)
    assert list(data.splits) == splits
    assert data.held_out[0] == splits[-1]
    if "test" in splits:
        assert all(name.startswith(folders[-1]) for name in data.splits["test"].names)
    if "validation" in splits and len(folders) == 1:
        assert len(data.splits["validation"]) == 2


def test_hidden_files_are_ignored_and_inner_folders_belong_to_the_class(write: Write) -> None:
    junk = {"ants/.DS_Store": b"x", "ants/Thumbs.db": b"x", "bees/Desktop.ini": b"x", ".cache/c.png": 9}
    junk |= {"README.md": b"about", "__MACOSX/ants/._a.png": b"x", "ants/.hidden/x.png": 8}
    root = write({**junk, "ants/2019/a.png": 1, "ants/2020/a.png": 2, "bees/a.png": 3, "bees/b.png": 4})
    data = load_images(root, image_size=8)
    names = sorted([*data.splits["train"].names, *data.splits["validation"].names])
    assert names == ["ants/2019/a.png", "ants/2020/a.png", "bees/a.png", "bees/b.png"]


def test_a_folder_linked_into_itself_is_read_once(photos: Path) -> None:
    (photos / "ants" / "again").symlink_to(photos / "ants", target_is_directory=True)
    assert sum(map(len, load_images(photos, image_size=8).splits.values())) == 15


@pytest.mark.parametrize(("how", "channels"), [("squash", 3), ("crop", 1), ("pad", 4)])
def test_gather_is_the_one_resize_function(photos: Path, way: type, how: str, channels: int) -> None:
    data = load_images(photos, image_size=(8, 10), resize=how, channels=channels)
    part = data.splits["train"]
    source: Source = part  # mypy checks the protocol, isinstance that it holds at run time
    assert isinstance(source, Source)
    assert isinstance(part.pixels, way)
    x, y = part.gather([5, 0, 5])
    assert (x.shape, x.dtype) == ((3, 8, 10, channels), np.uint8)
    np.testing.assert_array_equal(y, part.targets()[[5, 0, 5]])
    for place, index in enumerate([5, 0, 5]):
        wanted = load_picture(photos / part.names[index], (8, 10), how, channels)
        np.testing.assert_array_equal(x[place], wanted)
        np.testing.assert_array_equal(part.picture(index), wanted)
        assert data.class_names[y[place]] == part.names[index].split("/")[0]


def test_memory_and_disk_are_equal_also_in_their_fingerprint(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load_images(photos, image_size=8).splits["train"]
    monkeypatch.setattr(reading, "MEMORY_LIMIT", 0)
    again = load_images(photos, image_size=8).splits["train"]
    np.testing.assert_array_equal(kept.gather(range(12))[0], again.gather(range(12))[0])
    assert kept.fingerprint == again.fingerprint


def test_the_fingerprint_moves_with_everything_that_moves_pixels(photos: Path) -> None:
    def fingerprint(**options: Any) -> str:
        return load_images(photos, **{"image_size": 8, **options}).splits["train"].fingerprint

    first = fingerprint()
    assert fingerprint(batch_size=4) == first
    changed = [fingerprint(image_size=9), fingerprint(resize="pad"), fingerprint(channels=1), fingerprint(seed=2)]
    for path in photos.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert len({first, *changed, fingerprint()}) == 6


def test_datasets_hold_the_pictures_in_order(photos: Path, way: type) -> None:
    data = load_images(photos, image_size=8, batch_size=2)
    part = data.splits["validation"]
    shapes = [tuple(spec.shape) for spec in data.validation.element_spec]
    assert shapes == [(None, 8, 8, 3), (None,)]
    batches = [(x.numpy(), y.numpy()) for x, y in data.validation]
    assert [len(x) for x, _ in batches] == [2, 1]
    x, y = (np.concatenate(column) for column in zip(*batches, strict=True))
    assert (x.dtype, int(data.validation.cardinality())) == (np.float32, 2)
    np.testing.assert_array_equal(x, part.gather(range(3))[0])
    np.testing.assert_array_equal(y, part.targets())


def order(dataset: Any) -> list[float]:
    """A number for each picture, in the order in which they come."""
    return [float(value) for x, _ in dataset for value in x.numpy().reshape(len(x), -1) @ np.arange(192.0)]


def test_train_comes_in_a_new_order_every_epoch_and_repeats_with_the_seed(photos: Path) -> None:
    import keras

    keras.utils.set_random_seed(7)  # under which Keras' own shuffle repeats one order
    data = load_images(photos, image_size=8, batch_size=5)
    first, second, third = (order(data.train) for _ in range(3))
    assert sorted(first) == sorted(second) == sorted(third)
    assert first != second != third != first
    again = load_images(photos, image_size=8, batch_size=5)
    assert [order(again.train), order(again.train)] == [first, second]


def test_fit_takes_the_datasets(photos: Path) -> None:
    import keras

    data = load_images(photos, image_size=8, batch_size=4, labels="onehot")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(data.train, validation_data=data.validation, epochs=2, verbose=0).history
    assert len(history["val_accuracy"]) == 2


def test_one_hot_labels(photos: Path) -> None:
    part = load_images(photos, image_size=8, labels="onehot").splits["train"]
    _, y = part.gather(np.arange(len(part)))
    np.testing.assert_array_equal(y, np.eye(2, dtype=np.float32)[part.targets()])
    np.testing.assert_array_equal(part.labels, y)
    assert y.dtype == np.float32


def test_skip_counts_and_names(write: Write) -> None:
    good = {f"{c}/{i}.png": 10 * k + i for k, c in enumerate("ab") for i in range(4)}
    data = load_images(write({**good, "a/empty.png": b"", "b/notes.txt": b"?"}), image_size=8, on_bad="skip")
    assert data.skipped == [("a/empty.png", "the file is empty"), ("b/notes.txt", "it is no picture in a known format")]
    assert sum(map(len, data.splits.values())) == 8
    assert "skipped: 2" in repr(data)


def test_skip_keeps_held_out_pictures_and_drops_their_twins(write: Write) -> None:
    root = write({
        **{f"train/{c}/{i}.png": 10 * k + i for k, c in enumerate("ab") for i in range(4)},
        **{f"val/{c}/{i}.png": 100 + 10 * k + i for k, c in enumerate("ab") for i in range(3)},
        **{f"test/{c}/{i}.png": 200 + 10 * k + i for k, c in enumerate("ab") for i in range(3)},
    })  # fmt: skip
    shutil.copy(root / "val/a/0.png", root / "train/a/twin of val.png")
    shutil.copy(root / "test/b/1.png", root / "train/b/twin of test.png")
    shutil.copy(root / "test/b/2.png", root / "val/b/twin of test.png")
    shutil.copy(root / "train/a/0.png", root / "train/a/twice in train.png")
    data = load_images(root, image_size=8, on_bad="skip")
    assert data.skipped == [
        ("train/a/twin of val.png", "the same picture as val/a/0.png"),
        ("train/b/twin of test.png", "the same picture as test/b/1.png"),
        ("val/b/twin of test.png", "the same picture as test/b/2.png"),
    ]
    assert [len(part) for part in data.splits.values()] == [9, 6, 6]


@pytest.mark.parametrize("seed", range(6))
def test_equal_pictures_stay_on_one_side_of_a_split_of_ours(photos: Path, seed: int) -> None:
    for i in range(3):
        Image.open(photos / f"ants/{i}.png").save(photos / f"ants/copy {i}.bmp")
    data = load_images(photos, image_size=8, seed=seed)
    side = {name: split for split, part in data.splits.items() for name in part.names}
    assert all(side[f"ants/{i}.png"] == side[f"ants/copy {i}.bmp"] for i in range(3))
    assert not data.skipped


def test_write_split_lists_every_picture(photos: Path, tmp_path: Path) -> None:
    data = load_images(photos, image_size=8)
    data.write_split(tmp_path / "split.csv")
    rows = list(csv.reader((tmp_path / "split.csv").open(newline="")))
    assert rows[0] == ["path", "label", "split"]
    assert len(rows) == 16
    assert all((photos / path).exists() and path.startswith(label) for path, label, _ in rows[1:])
    assert {row[2] for row in rows[1:]} == {"train", "validation"}


def test_it_shows_as_a_table(photos: Path) -> None:
    (photos / "ants").rename(photos / "a<b>")
    data = load_images(photos, image_size=8)
    lines = str(data).splitlines()
    assert lines[0] == "ImageData: 15 pictures of 2 classes, 8 x 8 x 3 (squash)"
    assert [line.split() for line in lines[1:]] == [
        ["class", "train", "validation"], ["a<b>", "8", "2"], ["bees", "4", "1"], ["total", "12", "3"],
    ]  # fmt: skip
    html = data._repr_html_()
    assert "<td>a&lt;b&gt;</td><td>8</td><td>2</td>" in html


def arrays(count: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 256, (count, 9, 7, 3), dtype=np.uint8)
    return x, np.arange(count) % 3


@pytest.mark.parametrize("form", ["int", "column", "onehot", "float"])
def test_arrays_take_labels_in_every_form(form: str) -> None:
    x, y = arrays()
    forms = {"int": y, "column": y[:, None], "onehot": np.eye(3)[y], "float": y.astype("float32")}
    data = ImageData.from_arrays(x, forms[form], class_names=["a", "b", "c"])
    for part in data.splits.values():
        rows = [int(name[6:-1]) for name in part.names]
        np.testing.assert_array_equal(part.gather(range(len(part)))[0], x[rows])
        np.testing.assert_array_equal(part.targets(), y[rows])
    assert sum(map(len, data.splits.values())) == 20


def test_arrays_with_their_own_splits_are_resized_and_rounded() -> None:
    x, y = arrays()
    floats = np.clip(x + np.random.default_rng(1).uniform(-0.4, 0.4, x.shape), 0, 255).astype("float32")
    held_out = (arrays(6, 1)[0][:, :5], arrays(6, 1)[1])
    data = ImageData.from_arrays(floats, y, validation=held_out, test=arrays(7, 2), image_size=16, resize="pad")
    assert [len(part) for part in data.splits.values()] == [20, 6, 7]
    assert data.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(data.splits["train"].picture(3), resize(x[3], 16, "pad"))
    np.testing.assert_array_equal(data.splits["validation"].picture(5), resize(held_out[0][5], 16, "pad"))
    same = ImageData.from_arrays(x, y, validation=held_out, test=arrays(7, 2), image_size=16, resize="pad")
    assert same.splits["train"].fingerprint == data.splits["train"].fingerprint


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [None, 7, (9, 7)])
def test_arrays_go_through_the_one_resize_function(how: str, size: Any) -> None:
    x, y = arrays(300)
    part = ImageData.from_arrays(x, y, image_size=size, resize=how).splits["train"]
    for index in (0, 100, len(part) - 1):
        wanted = resize(x[int(part.names[index][6:-1])], size or (9, 7), how)
        np.testing.assert_array_equal(part.picture(index), wanted)


def test_reading_real_photos_is_quick(data_root: Path) -> None:
    start = time.perf_counter()
    data = load_images(data_root / "hymenoptera" / "train", show_progress=False)
    seconds = time.perf_counter() - start
    assert sum(map(len, data.splits.values())) == 244
    assert seconds < 5  # 0.2 s on two idle cores; the rest is for a busy machine


def test_real_photos_keep_their_own_split(data_root: Path) -> None:
    data = load_images(data_root / "hymenoptera", image_size=32)
    assert {split: np.bincount(part.y).tolist() for split, part in data.splits.items()} == {
        "train": [123, 121],
        "validation": [70, 83],
    }
