"""What a scan finds: messes of 300 files made from the ants and bees, and real sets that nobody messed up.

`python tests/benchmarks/mess.py`. A mess knows what was done to which file; the row holds what was missed, what was
accused beside it, and the seconds. The real sets show what is accused where nothing was done.
"""

import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from harness import DATA, run_rows
from PIL import Image, ImageEnhance, ImageOps

FILES = 300
Groups = dict[str, set[frozenset[str]]]


def jpeg(image: Image.Image, quality: int = 90, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Mess:
    """A folder with train and val, filled photo by photo; `expected` holds what a scan must say."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng = root, np.random.default_rng(seed)
        photos = sorted((DATA / "hymenoptera").rglob("*.jpg"))
        self.photos = [photos[i] for i in self.rng.permutation(len(photos))]
        self.expected: Groups = {}
        self.files = 0

    def place(self, split: str | None = None, label: str | None = None, suffix: str = ".jpg") -> str:
        split = split or self.rng.choice(["train", "train", "val"])
        label = label or self.rng.choice(["ants", "bees"])
        self.files += 1
        return f"{split}/{label}/{self.files:03d}{suffix}"

    def write(self, name: str, content: bytes, *kinds: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for kind in kinds:
            self.expect(kind, name)
        return name

    def expect(self, kind: str, *names: str) -> None:
        self.expected.setdefault(kind, set()).add(frozenset(names))

    def photo(self) -> Image.Image:
        """The next photo; none is used twice."""
        return Image.open(self.photos.pop()).convert("RGB")

    def twice(self, kind: str, change: Callable[[Image.Image], bytes], split: str, other: str, label: str, wrong: str):
        """A photo and a copy of it, changed or not, somewhere else."""
        image = self.photo()
        first = self.write(self.place(split, label), jpeg(image))
        content = change(Image.open(self.root / first))
        self.expect(kind, first, self.write(self.place(other, wrong), content or (self.root / first).read_bytes()))


def altered(rng: np.random.Generator) -> dict[str, Callable[[Image.Image], bytes]]:
    """Ways in which a copy comes to differ, with random strength."""

    def cropped(image: Image.Image) -> Image.Image:
        left, top, right, bottom = rng.uniform(0, 0.05, 4)
        return image.crop(
            (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
        )

    def smaller(image: Image.Image) -> Image.Image:
        share = rng.uniform(0.3, 0.8)
        return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)

    def lit(image: Image.Image) -> Image.Image:
        return ImageEnhance.Brightness(image).enhance(rng.choice([0.7, 0.8, 1.15, 1.3]))

    return {
        "saved again": lambda image: jpeg(image, int(rng.integers(20, 70))),
        "resized": lambda image: jpeg(smaller(image)),
        "cropped": lambda image: jpeg(cropped(image)),
        "brightened": lambda image: jpeg(lit(image)),
        "greyed": lambda image: jpeg(image.convert("L")),
        "mirrored": lambda image: jpeg(ImageOps.mirror(image)),
        "as PNG with more contrast": lambda image: saved(ImageEnhance.Contrast(image).enhance(1.3), "PNG"),
        "all at once": lambda image: jpeg(lit(smaller(cropped(image))), 50),
    }


def damage(mess: Mess) -> None:
    """Files that do not decode, each in its own way."""
    for name in (mess.place(), mess.place(suffix=".png"), mess.place()):
        mess.write(name, b"", "empty_file")
    for share in (0.3, 0.6, 0.8, 0.95):
        content = jpeg(mess.photo())
        mess.write(mess.place(), content[: int(share * len(content))], "truncated")
    content = saved(mess.photo(), "PNG")
    mess.write(mess.place(suffix=".png"), content[: len(content) // 2], "truncated")
    mess.write(mess.place(suffix=".png"), content[:2000] + bytes(3000) + content[5000:], "damaged")
    mess.write(mess.place(), jpeg(mess.photo())[:4] + bytes(600), "damaged")
    mess.write(mess.place(suffix=".webp"), saved(mess.photo(), "WEBP")[:60], "damaged")
    for content in (b"<html><title>404 Not Found</title></html>", b"%PDF-1.7 nothing", b"a,b\n1,2\n"):
        mess.write(mess.place(suffix=mess.rng.choice([".jpg", ".pdf", ".csv"])), content, "not_a_picture")
    mess.write(mess.place(suffix=".png"), saved(Image.new("1", (12000, 12000)), "PNG"), "bomb")
    content = saved(mess.photo().quantize(16), "GIF")
    mess.write(mess.place(suffix=".gif"), content[:6] + b"\xff" * 4 + content[10:], "bomb")  # its screen: 65535 x 65535
    mess.write(mess.place(suffix=".tif"), saved(mess.photo().convert("F"), "TIFF"), "unknown_range")
    for make in (lambda path: path.symlink_to("gone.jpg"), os.mkfifo):
        name = mess.place("train", "ants")
        (mess.root / name).parent.mkdir(parents=True, exist_ok=True)
        make(mess.root / name)
        mess.expect("not_a_file", name)
    name = mess.write(mess.place("train", "bees"), jpeg(mess.photo()))
    os.rename(mess.root / name, os.fsencode(mess.root / name) + b"\xe9.jpg")
    mess.expect("bad_name", name + r"\xe9.jpg")


def traits(mess: Mess) -> None:
    """Files that decode, and are not what one thinks."""
    for quality in (80, 90):
        mess.write(mess.place(), jpeg(mess.photo().convert("CMYK"), quality), "cmyk")
    for kind, suffix in (("PNG", ".png"), ("TIFF", ".tif")):
        deep = np.asarray(mess.photo().convert("L")).astype(np.uint16) * 257
        mess.write(mess.place(suffix=suffix), saved(Image.fromarray(deep), kind), "sixteen_bit")
    mess.write(mess.place(suffix=".png"), saved(mess.photo().quantize(64), "PNG"), "palette")
    mess.write(mess.place(suffix=".gif"), saved(mess.photo().quantize(128), "GIF"), "palette")
    for kind, suffix in (("PNG", ".png"), ("WEBP", ".webp")):
        image = mess.photo()
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        mess.write(mess.place(suffix=suffix), saved(image, kind), "transparent")
    frames = [mess.photo().resize((120, 90)) for _ in range(3)]
    moving = {"save_all": True, "append_images": frames[1:]}
    mess.write(mess.place(suffix=".gif"), saved(frames[0].quantize(), "GIF", **moving), "animated", "palette")
    mess.write(mess.place(suffix=".tif"), saved(mess.photo(), "TIFF", save_all=True, append_images=frames), "animated")
    for turn in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        mess.write(mess.place(), jpeg(mess.photo(), exif=exif), "rotated")
    mess.write(mess.place(suffix=".jpg"), saved(mess.photo(), "PNG"), "wrong_extension")
    mess.write(mess.place(suffix=".png"), jpeg(mess.photo()), "wrong_extension")
    mess.write(mess.place(suffix=""), jpeg(mess.photo()), "wrong_extension")
    for shade in (0, 255):
        mess.write(mess.place(), jpeg(Image.new("RGB", (200, 150), (shade,) * 3)), "blank")
    for _ in range(2):
        mess.write(mess.place(), jpeg(mess.photo().resize((20, 15))), "small")
    image = mess.photo()
    mess.write(mess.place(), jpeg(image.crop((0, 60, image.width, 90)).resize((800, 94))), "stretched")
    mess.write(mess.place(), jpeg(mess.photo().resize((60, 400))), "stretched")


def twins(mess: Mess) -> None:
    """The same photo twice: as it is and changed, in one place, in two splits, under two labels."""
    for _ in range(3):
        mess.twice("two_labels", lambda image: b"", "train", "train", "ants", "bees")
        mess.twice("two_splits", lambda image: b"", "train", "val", "bees", "bees")
        mess.twice("duplicate", lambda image: saved(image, "BMP"), "train", "train", "ants", "ants")
    # a duplicate that was saved without loss has another extension
    for change in altered(mess.rng).values():
        mess.twice("near_two_splits", change, "val", "train", "ants", "ants")
        mess.twice("near_duplicate", change, "train", "train", "bees", "bees")
        mess.twice("near_two_labels", change, "train", "val", "ants", "bees")


def stray(mess: Mess) -> None:
    """Things that lie where no picture should."""
    for name in ("lost.jpg", "train/lost too.jpg"):
        mess.files += 1
        mess.write(name, jpeg(mess.photo()), "outside_classes")
    for name in (".DS_Store", "train/ants/Thumbs.db", "train/bees/.hidden.jpg", "notes.txt"):
        mess.files += 1
        mess.write(name, b"nothing of interest", "ignored")
    (mess.root / "val" / "ants").mkdir(parents=True, exist_ok=True)
    (mess.root / "train" / "wasps").mkdir(parents=True)
    mess.expect("empty_class", "train/wasps")


def make(root: Path, seed: int) -> Groups:
    """Fill `root` with 300 files, and say what is wrong with which."""
    mess = Mess(root, seed)
    for part in (damage, traits, twins, stray):
        part(mess)
    while mess.files < FILES:
        mess.write(mess.place(), jpeg(mess.photo(), 92))
    bmp = {name for group in mess.expected["duplicate"] for name in group}
    for name in bmp:
        if (root / name).read_bytes()[:2] == b"BM":
            mess.expect("wrong_extension", name)
    for kind in ("near_two_splits", "near_duplicate", "near_two_labels"):
        for name in {name for group in mess.expected[kind] for name in group}:
            if (root / name).read_bytes()[:4] == b"\x89PNG":
                mess.expect("wrong_extension", name)
    return mess.expected


def compare(expected: Groups, report: object) -> dict[str, object]:
    """What was missed and what was accused beside it, of all expected findings."""
    found = {one.kind: {frozenset(group) for group in one.files} for one in report.findings}
    missed = {k: sorted(map(sorted, groups - found.get(k, set()))) for k, groups in expected.items()}
    beside = {k: sorted(map(sorted, groups - expected.get(k, set()))) for k, groups in found.items()}
    return {
        "kinds": len(expected),
        "expected": sum(map(len, expected.values())),
        "missed": {kind: groups for kind, groups in missed.items() if groups},
        "accused_beside": {kind: groups for kind, groups in beside.items() if groups},
    }


def spent(report: object, start: float) -> dict[str, float]:
    """Seconds by the clock, which other work on the machine slows, and by the processor, which it does not."""
    return {"scan_seconds": round(report.seconds, 2), "processor_seconds": round(time.process_time() - start, 2)}


def mess(seed: int) -> dict[str, object]:
    from keras_transfer.data import scan_folder

    with tempfile.TemporaryDirectory() as folder:
        expected = make(Path(folder), seed)
        start = time.process_time()
        report = scan_folder(folder, show_progress=False)
        return {"files": FILES, **compare(expected, report), **spent(report, start)}


def real(folder: str) -> dict[str, object]:
    """What is accused in a real set, and how long a picture takes."""
    from keras_transfer.data import scan_folder

    with tempfile.TemporaryDirectory() as temporary:
        root = DATA / folder
        if folder == "cifar10_small.npz":
            root, pictures = Path(temporary), np.load(root)
            for split in ("train", "test"):
                for row, (x, y) in enumerate(zip(pictures[f"x_{split}"], pictures[f"y_{split}"], strict=True)):
                    path = root / split / f"{y}" / f"{row:04d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(x).save(path)
        elif folder == "flickr8k_1000/images":
            root = Path(temporary)
            for row, path in enumerate(sorted((DATA / folder).iterdir())):
                (root / "ab"[row % 2]).mkdir(exist_ok=True)
                shutil.copy(path, root / "ab"[row % 2])
        start = time.process_time()
        report = scan_folder(root, show_progress=False)
        found = {one.kind: one.files for one in report.findings}
        return {"pictures": report.pictures, "found": found, **spent(report, start)}


def many(count: int = 20_000) -> dict[str, object]:
    """Seconds for the search of near-duplicates alone: mixtures of two photos each, with 200 copies among them."""
    from keras_transfer.data.near import near_duplicates, thumbnail
    from keras_transfer.data.resize import decode

    rng = np.random.default_rng(0)
    paths = [*sorted((DATA / "flickr8k_1000" / "images").iterdir()), *sorted((DATA / "hymenoptera").rglob("*.jpg"))]
    small = np.stack([thumbnail(decode(path)) for path in paths]).astype(np.float32)
    pairs = rng.integers(0, len(small), (count - 200, 2))
    mixed = 0.6 * small[pairs[:, 0]] + 0.4 * small[pairs[:, 1]]
    copies = np.clip(mixed[:200] * 1.1 + rng.normal(0, 1, (200, 32, 32)), 0, 255)
    start = time.process_time()
    found = set(near_duplicates(np.concatenate([mixed, copies]).astype(np.uint8)))
    seconds = round(time.process_time() - start, 1)
    there = sum((i, count - 200 + i) in found for i in range(200))
    return {"pictures": count, "copies_found": there, "processor_seconds": seconds}


def cost(rounds: int = 15) -> dict[str, object]:
    """What the findings cost `load_images` on ants and bees: with the looks and without, in turn, the least processor seconds."""
    from keras_transfer.data import load_images, reading

    def without(name: str, path: Path, channels: int = 3) -> tuple[object, np.ndarray]:
        picture = reading.as_pixels(reading.inspect(path, channels)[0])
        state, digest = os.stat(path), reading.pixel_digest(picture)
        key = reading.hashlib.sha256(b"%s\0%d\0%d\0" % (name.encode(), state.st_size, state.st_mtime_ns) + digest)
        return reading.Look(digest, key.digest(), picture.shape[:2]), picture

    seconds: dict[str, list[float]] = {"with": [], "without": []}
    whole = reading.look_at
    for _ in range(rounds):
        for way, function in (("with", whole), ("without", without)):
            reading.look_at = function
            start = time.process_time()
            load_images(DATA / "hymenoptera", image_size=224, show_progress=False)
            seconds[way].append(time.process_time() - start)
    reading.look_at = whole
    a, b = (min(seconds[way]) for way in ("with", "without"))
    return {"with": round(a, 3), "without": round(b, 3), "share": round(a / b - 1, 3)}


ROWS = {f"mess, seed {seed}": partial(mess, seed) for seed in range(5)}
ROWS |= {f"as it is: {name}": partial(real, name) for name in ("hymenoptera", "medical/brain_mri", "cifar10_small.npz")}
ROWS |= {"as it is: flickr8k_1000": partial(real, "flickr8k_1000/images"), "20,000 pictures": many, "load_images": cost}

if __name__ == "__main__":
    run_rows("mess", {key: row for key, row in ROWS.items() if not sys.argv[1:] or any(w in key for w in sys.argv[1:])})
