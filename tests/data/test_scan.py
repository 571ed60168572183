"""scan_folder: each kind of trouble found in the right files and nothing else, the report, and that no decode is twice."""

import json
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import ImageData, ScanReport, class_weights, load_images, reading, scan_folder
from keras_transfer.data.decoding import UnreadablePicture, inspect
from keras_transfer.data.kinds import KINDS, SEVERITIES

Write = Callable[..., Path]


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def scene(seed: int, side: int = 96) -> Image.Image:
    """Something like a photo: smooth shapes with a 1 / f spectrum, in colour."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(3):
        waves = np.fft.fft2(rng.normal(size=(side, side)))
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
        plane = np.real(np.fft.ifft2(waves / np.maximum(radius, 1 / side) ** 1.2))
        planes.append(np.clip(128 + 45 * (plane - plane.mean()) / plane.std(), 0, 255))
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def exif(turn: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags


def animated() -> bytes:
    frames = [scene(seed, 40).quantize(16) for seed in (900, 901)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.fixture
def clean(write: Write) -> Callable[..., Path]:
    """`clean({name: content})`: twelve sound pictures a class, and beside them what a test adds."""

    def make(files: dict[str, Any] | None = None, prefix: str = "") -> Path:
        sound = {f"{prefix}{c}/{i}.png": encoded(scene(100 * k + i)) for k, c in enumerate("ab") for i in range(12)}
        return write({**sound, **(files or {})})

    return make


def told(root: Path) -> dict[str, list[list[str]]]:
    return {one.kind: one.files for one in scan_folder(root, show_progress=False).findings}


def test_nothing_is_said_of_sound_pictures(clean: Callable[..., Path]) -> None:
    report = scan_folder(clean())
    assert report.findings == []
    assert (report.files, report.pictures, report.errors, report.warnings) == (24, 24, [], [])
    assert report.classes == {"a": {"all": 12}, "b": {"all": 12}}
    assert report.sizes == {"median": [96, 96], "smallest": [96, 96], "largest": [96, 96], "aspect": [1.0, 1.0, 1.0]}
    assert "Nothing found wrong." in str(report)


PNG = encoded(scene(50))
HALF = np.concatenate([np.full((60, 60, 3), 200), np.full((60, 60, 1), 90)], -1).astype(np.uint8)
DEEP = Image.fromarray(np.asarray(scene(51).convert("L")).astype(np.uint16) * 257)
# name of the file -> (content, the kinds that must be said of it, and no others)
FILES: dict[str, tuple[bytes, set[str]]] = {
    "zero.png": (b"", {"empty_file"}),
    "page.jpg": (b"<html>404</html>", {"not_a_picture"}),
    "short.png": (PNG[: len(PNG) // 2], {"truncated"}),
    "short.jpg": (encoded(scene(52), "JPEG")[:1500], {"truncated"}),
    "broken.png": (PNG[:2000] + bytes(2000) + PNG[4000:], {"damaged"}),
    "header.jpg": (b"\xff\xd8\xff\xe0" + bytes(500), {"damaged"}),
    "float.tif": (encoded(scene(53).convert("F"), "TIFF"), {"unknown_range"}),
    "print.jpg": (encoded(scene(54).convert("CMYK"), "JPEG"), {"cmyk"}),
    "deep.png": (encoded(DEEP), {"sixteen_bit"}),
    "deep.tif": (encoded(DEEP.transpose(Image.Transpose.ROTATE_90), "TIFF"), {"sixteen_bit"}),
    "palette.png": (encoded(scene(55).quantize(32)), {"palette"}),
    "moving.gif": (animated(), {"animated", "palette"}),
    "glass.png": (encoded(HALF), {"transparent", "blank"}),
    "turned.jpg": (encoded(scene(56), "JPEG", exif=exif(6)), {"rotated"}),
    "turned.tif": (encoded(scene(64), "TIFF", exif=exif(6)), {"rotated"}),
    "upright.jpg": (encoded(scene(57), "JPEG", exif=exif(1)), set()),
    "opaque.png": (encoded(scene(58).convert("RGBA")), set()),
    "wrong.jpg": (encoded(scene(59)), {"wrong_extension"}),
    "none": (encoded(scene(60)), {"wrong_extension"}),
    "white.png": (encoded(Image.new("RGB", (90, 90), "white")), {"blank"}),
    "tiny.png": (encoded(scene(61, 16)), {"small"}),
    "long.png": (encoded(scene(62).resize((400, 60))), {"stretched"}),
    ".hidden.png": (encoded(scene(63)), {"ignored"}),
    "Thumbs.db": (b"x", {"ignored"}),
}


def test_every_kind_of_file_is_told_as_what_it_is(clean: Callable[..., Path]) -> None:
    root = clean({f"a/{name}": content for name, (content, _) in FILES.items()})
    found = told(root)
    for name, (_, kinds) in FILES.items():
        assert {kind for kind, files in found.items() if [f"a/{name}"] in files} == kinds, name
    spoken = {kind for _, kinds in FILES.values() for kind in kinds}
    assert set(found) == spoken
    assert sum(map(len, found.values())) == sum(len(kinds) for _, kinds in FILES.values())


def test_a_bomb_is_told_and_not_opened(clean: Callable[..., Path], recwarn: pytest.WarningsRecorder) -> None:
    content = encoded(scene(70).quantize(16), "GIF")
    root = clean(
        {
            "a/bomb.png": encoded(Image.new("1", (10_000, 10_000))),
            "a/bomb.gif": content[:6] + b"\xff" * 4 + content[10:],
        }
    )
    assert told(root)["bomb"] == [["a/bomb.gif"], ["a/bomb.png"]]
    assert not [one for one in recwarn if "bomb" in str(one.message).lower()]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_links_to_nothing_pipes_and_odd_names(clean: Callable[..., Path]) -> None:
    root = clean()
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "a" / "pipe.png")
    os.rename(root / "b" / "0.png", os.fsencode(root / "b") + b"/caf\xe9.png")
    found = told(root)
    assert found == {"not_a_file": [["a/gone.png"], ["a/pipe.png"]], "bad_name": [[r"b/caf\xe9.png"]]}
    json.dumps(scan_folder(root).to_dict()).encode()


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("train/a", "train/a", "duplicate"),
        ("train/a", "train/b", "two_labels"),
        ("train/a", "val/a", "two_splits"),
        ("train/a", "val/b", "two_labels"),
    ],
)
@pytest.mark.parametrize("near", [False, True])
def test_where_a_picture_is_twice(clean: Callable[..., Path], first: str, second: str, kind: str, near: bool) -> None:
    image = scene(80)
    copy = encoded(image.resize((70, 70)), "JPEG", quality=60) if near else encoded(image, "BMP")
    val = {f"val/{c}/v{i}.png": encoded(scene(500 + 20 * k + i)) for k, c in enumerate("ab") for i in range(2)}
    names = [f"{first}/x.png", f"{second}/y.{'jpg' if near else 'bmp'}"]
    root = clean({**val, names[0]: encoded(image), names[1]: copy}, prefix="train/")
    assert told(root) == {f"near_{kind}" if near else kind: [names]}


def test_classes_are_counted_and_compared(write: Write) -> None:
    counts = {"train/Cats": 24, "train/dogs": 2, "train/cats ": 8, "val/Cats": 3, "val/cats ": 1}
    files = {f"{top}/{i}.png": 1000 * k + i for k, (top, count) in enumerate(counts.items()) for i in range(count)}
    report = scan_folder(write(files))
    assert report.classes["Cats"] == {"train": 24, "validation": 3}
    assert report.get("very_uneven") == [["Cats (24), dogs (2)"]]
    assert report.get("uneven") == []
    assert report.get("few_pictures") == [["cats "], ["dogs"]]
    assert report.get("not_held_out") == [["dogs (validation)"]]
    assert report.get("similar_class_names") == [["Cats", "cats "]]
    shutil.rmtree(Path(report.folder) / "train" / "dogs")
    assert scan_folder(report.folder).get("uneven") == [["Cats (24), cats  (8)"]]


def test_a_layout_that_fit_refuses_is_told_whole(clean: Callable[..., Path]) -> None:
    more = {"lost.png": PNG, "train/lost.png": PNG, "train/empty": None, "val/a/x.png": encoded(scene(90))}
    root = clean({**more, "val/other/x.png": encoded(scene(91)), "README.md": b"about"}, prefix="train/")
    found = told(root)
    assert found["outside_classes"] == [["lost.png"], ["train/lost.png"]]
    assert found["empty_class"] == [["train/empty"]]
    assert found["unknown_class"] == [["val/other"]]
    assert found["ignored"] == [["README.md"]]
    assert scan_folder(root).classes["other"] == {"train": 0, "validation": 1}
    shutil.copytree(root / "val" / "other", root / "test" / "other")
    assert told(root)["unknown_class"] == [["test/other"], ["val/other"]]
    with pytest.raises(ValueError, match="outside the class folders"):
        load_images(root)


def test_a_single_class_and_no_picture_at_all(write: Write) -> None:
    report = scan_folder(write({"a/x.png": b""}))
    assert (report.get("single_class"), report.get("empty_file"), report.sizes) == ([["a"]], [["a/x.png"]], None)
    assert "0 pictures of 1 classes in 1 files" in str(report)
    assert report.to_dict()["classes"] == {"a": {"all": 0}}


@pytest.mark.parametrize("top", ["", "train/"])
def test_nothing_to_hold_out_is_told_as_fit_refuses_it(write: Write, top: str) -> None:
    root = write({f"{top}a/1.png": 1, f"{top}a/2.png": 1, f"{top}b/1.png": 2})  # the same picture twice is one
    with pytest.raises(ValueError, match="No class has two different pictures"):
        load_images(root)
    report = scan_folder(root)
    assert report.get("none_to_hold_out") == [["a"], ["b"]]
    assert [one.kind for one in report.errors] == ["none_to_hold_out"]
    assert scan_folder(write({f"{top}b/2.png": 3})).errors == []
    if top:
        assert scan_folder(write({"val/a/1.png": 4}, folder="photos")).errors == []


@pytest.mark.parametrize("files", [{}, {"1.png": 1}, {"train/a/1.png": 1, "ants/1.png": 2}])
def test_what_cannot_be_understood_is_refused(write: Write, files: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Received: "):
        scan_folder(write(files))


def test_contract_of_the_json(clean: Callable[..., Path], tmp_path: Path) -> None:
    report = scan_folder(clean({"a/zero.png": b""}))
    value = json.loads(report.save(tmp_path / "scan.json").read_text())
    assert list(value) == ["format", "folder", "files", "pictures", "seconds", "classes", "sizes", "findings"]
    assert value["format"] == 1
    assert list(value["findings"][0]) == ["kind", "severity", "text", "files", "count"]
    assert value["findings"][0] == {
        "kind": "empty_file", "severity": "error", "text": KINDS["empty_file"][1], "files": [["a/zero.png"]], "count": 1,
    }  # fmt: skip
    assert ScanReport.load(tmp_path / "scan.json").to_dict() == report.to_dict()
    with pytest.raises(ValueError, match=r"of format 1; scan the folder anew\. Received: 2"):
        ScanReport.from_dict({**value, "format": 2})


def test_findings_stand_in_the_order_of_their_severity(clean: Callable[..., Path]) -> None:
    report = scan_folder(clean({f"a/{name}": content for name, (content, _) in FILES.items()}))
    order = [SEVERITIES.index(one.severity) for one in report.findings]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}
    text, html = str(report), report._repr_html_()
    assert all(one.text in text for one in report.findings)
    assert text.index("Errors") < text.index("Warnings") < text.index("Notes")
    assert html.count("<tr>") == 2 + 3 + len(report.findings)


def test_load_images_finds_the_same_without_decoding_again(
    clean: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    val = {f"val/{c}/v{i}.png": encoded(scene(500 + 20 * k + i)) for k, c in enumerate("ab") for i in range(2)}
    files = {f"train/a/{name}": content for name, (content, _) in FILES.items()}
    root = clean({**val, **files, "val/a/copy.jpg": encoded(scene(3), "JPEG", quality=50)}, prefix="train/")
    alone = scan_folder(root).to_dict()
    decoded = []
    monkeypatch.setattr(reading, "inspect", lambda path, channels: decoded.append(path) or inspect(path, channels))
    data = load_images(root, image_size=8, resize="crop", on_bad="skip")
    beside = data.scan.to_dict()
    assert len(decoded) == len(set(decoded)) == alone["files"]
    assert {**beside, "seconds": 0} == {**alone, "seconds": 0}
    assert data.scan is data.scan
    assert data.scan.get("near_two_splits") == [["train/a/3.png", "val/a/copy.jpg"]]


def test_a_file_that_is_left_out_makes_no_split_of_its_own(clean: Callable[..., Path]) -> None:
    data = load_images(clean({"a/zero.png": b""}), image_size=8, on_bad="skip")
    assert data.scan.classes == {name: {"train": 10, "validation": 2} for name in "ab"}


def test_a_folder_whose_name_is_no_text(clean: Callable[..., Path], tmp_path: Path) -> None:
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.move(clean(), root)
    report = scan_folder(root)
    assert json.loads(report.save(tmp_path / "scan.json").read_text("utf-8"))["folder"].endswith(r"/caf\udce9")
    assert str(report).encode()


def test_a_near_duplicate_across_the_split_that_we_made(clean: Callable[..., Path]) -> None:
    root = clean({f"a/copy{i}.jpg": encoded(scene(i), "JPEG", quality=50) for i in range(12)})
    assert len(scan_folder(root).get("near_duplicate")) == 12
    data = load_images(root, image_size=8, seed=1)
    split_of = {name: split for split, part in data.splits.items() for name in part.names}
    torn = sum(split_of[f"a/{i}.png"] != split_of[f"a/copy{i}.jpg"] for i in range(12))
    assert torn
    assert len(data.scan.get("near_two_splits")) == torn


def test_arrays_have_a_scan_too() -> None:
    x = np.stack([np.asarray(scene(seed, 40)) for seed in range(20)])
    x[5], x[7] = x[3], np.clip(x[4] * 0.8 + 5, 0, 255)
    data = ImageData.from_arrays(x, np.arange(20) // 10, image_size=32)
    splits = {name: split for split, part in data.splits.items() for name in part.names}
    near = "near_duplicate" if splits["train[4]"] == splits["train[7]"] else "near_two_splits"
    found = {one.kind: one.files for one in data.scan.findings}
    assert {kind: files for kind, files in found.items() if kind != "few_pictures"} == {
        "duplicate": [["train[3]", "train[5]"]],
        near: [["train[4]", "train[7]"]],
    }
    assert (data.scan.folder, data.scan.files, data.scan.sizes["median"]) == ("arrays", 20, [40, 40])
    small = ImageData.from_arrays(x[:, ::2, ::2], np.arange(20) // 10, image_size=32)
    assert small.scan.get(near) == []  # 20 pixels hold too little to tell twins by


def test_a_list_of_arrays_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [np.asarray(scene(seed, 40)) for seed in range(6)]
    measured = []
    real = np.shape
    monkeypatch.setattr(np, "shape", lambda given: measured.append(given) or real(given))
    assert ImageData.from_arrays(pictures, [0, 1] * 3, image_size=8).scan.sizes["median"] == [40, 40]
    assert sum(given is pictures for given in measured) == 1  # to look at a list is to copy all of it


def test_data_that_nobody_looked_at_has_no_scan() -> None:
    x, y = np.zeros((2, 4, 4, 3), np.uint8), np.arange(2)
    x[1] = 9
    made = ImageData.from_arrays(np.concatenate([x, x + 1]), np.concatenate([y, y]))
    assert ImageData(made.class_names, made.splits, image_size=(4, 4), channels=3).scan is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty_file"), (b"text", "not_a_picture"), (PNG[:900], "truncated"), (PNG[:8] * 9, "damaged")],
)
def test_an_unreadable_picture_says_its_kind(content: bytes, kind: str) -> None:
    with pytest.raises(UnreadablePicture, match="Expected a picture that Pillow decodes") as caught:
        inspect(content)
    assert caught.value.kind == kind


def test_class_weights_make_all_classes_count_the_same() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels)
    assert weights == pytest.approx({0: 10 / (3 * 6), 1: 10 / (3 * 3), 2: 10 / (3 * 1)})  # King & Zeng: n / (k n_c)
    assert {c: weights[c] * (labels == c).sum() for c in range(3)} == pytest.approx(dict.fromkeys(range(3), 10 / 3))
    assert class_weights(np.eye(3)[labels]) == weights
    data = ImageData.from_arrays(
        np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3)), labels, validation_fraction=0.3
    )
    assert class_weights(data) == class_weights(data.splits["train"].targets()) != weights


def test_the_pythonic_scan_needs_no_tensorflow(clean: Callable[..., Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys, keras_transfer.data.scan as s; s.scan_folder(sys.argv[1]); "
        "print({'tensorflow', 'keras', 'jax', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(clean())]
    assert (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip() == "set()"
    )


def test_ants_and_bees_are_clean(data_root: Path) -> None:
    report = scan_folder(data_root / "hymenoptera")
    assert (report.pictures, report.findings) == (397, [])


@pytest.mark.slow
def test_the_twins_of_the_brains_are_found(data_root: Path) -> None:
    """The pairs whose 32 x 32 thumbnails differ by less than one grey level, by brute force, are all among those told."""
    root = data_root / "medical" / "brain_mri"
    paths = sorted(root.rglob("*.jpg"))
    small = np.stack(
        [np.asarray(Image.open(path).convert("L").resize((32, 32), Image.Resampling.BILINEAR)) for path in paths]
    )
    difference = np.abs(small[:, None].astype(float) - small[None]).mean(axis=(2, 3))
    close = [(i, j) for i, j in np.argwhere(difference < 1) if i < j]
    names = [path.relative_to(root).as_posix() for path in paths]
    report = scan_folder(root)
    group_of = {name: group for one in report.findings for group in one.files for name in group}
    leaked = {names[j] for i, j in close if names[i].startswith("train") and names[j].startswith("val")}
    assert len(leaked) == 5
    assert all(names[j] in group_of.get(names[i], ()) for i, j in close)
    assert {one.kind for one in report.findings} == {"near_two_splits", "near_duplicate"}
    assert len(report.get("near_two_splits")) == 8
