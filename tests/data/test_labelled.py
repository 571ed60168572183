"""Pictures to judge a finished model on: the labels are the model's, whatever folders are there."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data.labelled import load_labelled

NAMES = ["ants", "bees", "cows"]


def fill(root, counts):
    random = np.random.default_rng(0)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype="uint8")).save(root / folder / f"{index}.png")
    return root


def test_labels_are_the_models_and_classes_may_be_missing(tmp_path):
    split, pictures, skipped = load_labelled(fill(tmp_path, {"cows": 2, "ants": 1}), NAMES, image_size=8)
    assert split == "all"
    assert pictures.targets().tolist() == [0, 2, 2]
    assert pictures.names == ["ants/0.png", "cows/0.png", "cows/1.png"]
    assert pictures.gather([0, 1, 2])[0].shape == (3, 8, 8, 3)
    assert skipped == []


def test_one_class_alone_is_enough(tmp_path):
    assert load_labelled(fill(tmp_path, {"bees": 2}), NAMES, image_size=8)[1].targets().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [(("train", "val", "test"), "test"), (("train", "val"), "validation"), (("train",), "train")],
)
def test_of_several_splits_the_most_held_out_is_read(tmp_path, splits, expected):
    fill(tmp_path, {f"{split}/{name}": 1 + at for at, split in enumerate(splits) for name in ("ants", "bees")})
    split, pictures, _ = load_labelled(tmp_path, NAMES, image_size=8)
    assert split == expected
    assert len(pictures) == 2 * len(splits)


def test_an_unknown_class_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"'beees'.*Did you mean 'bees'"):
        load_labelled(fill(tmp_path, {"beees": 1}), NAMES, image_size=8)


def test_bad_files_stop_it_or_are_named(tmp_path):
    fill(tmp_path, {"ants": 1, "bees": 1})
    (tmp_path / "ants" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match="on-bad skip"):
        load_labelled(tmp_path, NAMES, image_size=8)
    _, pictures, skipped = load_labelled(tmp_path, NAMES, image_size=8, on_bad="skip")
    assert pictures.targets().tolist() == [1]
    assert [path for path, _ in skipped] == ["ants/0.png"]
    (tmp_path / "bees" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match="No picture is left"):
        load_labelled(tmp_path, NAMES, image_size=8, on_bad="skip")
