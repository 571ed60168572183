"""A folder of pictures on disk: which file belongs to which class, and to which split where there are split folders."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .resize import is_picture
from .text_files import is_table

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SPLITS = ("train", "validation", "test")
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
# What is told of a layout that a scan can go on from: kind, path below the root, sentence.
Tell = Callable[[str, str, str], None]


def _refuse(kind: str, name: str, sentence: str) -> None:
    raise ValueError(sentence)


@dataclass(frozen=True)
class Folder:
    """What lies in a data folder: files, their names (relative, with `/`), classes, and splits (None: none given)."""

    root: Path
    class_names: tuple[str, ...]
    paths: list[Path]
    names: list[str]
    labels: list[int]
    splits: list[str | None]

    @property
    def given_splits(self) -> tuple[str, ...]:
        """The splits that the folder itself makes, in the order train, validation, test."""
        return tuple(split for split in SPLITS if split in self.splits)


def read_folder(path: str | Path, least_classes: int = 2, tell: Tell = _refuse) -> Folder:
    """Find the pictures below `path`: class sub-folders, or train/, val/ and test/ with class sub-folders.

    Split folders are recognised in any case, also as training, valid, validation and testing. Classes are sorted by
    name, files by relative name, so that nothing depends on the order in which the file system lists them. Folders
    inside a class folder belong to the class; hidden files, `Thumbs.db` and `desktop.ini` are ignored. A wrong layout is
    a `ValueError`; where the rest can be understood without it, `tell` is asked instead, which raises unless given.

    Example: `read_folder("photos/").class_names`
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"The data folder must exist; check the path. Received: {str(path)!r}")
    if not root.is_dir():
        table = is_table(root)
        packed = not table and root.suffix.lower() in (".zip", ".gz", ".tgz", ".tar", ".rar", ".7z")
        raise ValueError(
            f"Expected a folder with one sub-folder per class, not a file; {'unpack it and ' if packed else ''}pass "
            f"the folder that holds the class folders{'; tables of texts are for load_texts, fit, evaluate' * table}. "
            f"Received: {str(path)!r}"
        )
    folders = _sub_folders(root)
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not folders:
        raise ValueError(
            "Expected one sub-folder of pictures per class (such as photos/ants, photos/bees), found no sub-folder; "
            f"sort the pictures into class folders. Received: {str(path)!r}"
        )
    _no_loose_pictures(root, root, tell)
    if not split_folders:
        return _collect(root, {None: root}, least_classes, tell)
    if len(split_folders) < len(folders):
        others = sorted(folder.name for folder in folders if folder not in split_folders)
        raise ValueError(
            f"Split folders ({_listed(folder.name for folder in split_folders)}) lie beside other folders "
            f"({_listed(others)}); keep class folders inside the split folders, or rename a class that is called like "
            f"a split. Received: {str(path)!r}"
        )
    return _collect(root, _by_split(root, split_folders, tell), least_classes, tell)


def _by_split(root: Path, folders: list[Path], tell: Tell) -> dict[str | None, Path]:
    by_split: dict[str | None, Path] = {}
    for folder in folders:
        split = SPLIT_FOLDERS[folder.name.lower()]
        if split in by_split:
            raise ValueError(
                f"Two folders stand for the {split} split, {by_split[split].name!r} and {folder.name!r}; keep one. "
                f"Received: {str(root)!r}"
            )
        by_split[split] = folder
    if "train" not in by_split:
        raise ValueError(
            f"A folder with {_listed(folder.name for folder in folders)} needs a train folder beside it; add train/ "
            f"with its class folders. Received: {str(root)!r}"
        )
    for folder in folders:
        _no_loose_pictures(root, folder, tell)
        if not _sub_folders(folder):
            raise ValueError(
                f"The split folder {folder.name!r} holds no class folders; sort its pictures into one sub-folder per "
                f"class. Received: {str(root)!r}"
            )
    return by_split


def _collect(root: Path, by_split: dict[str | None, Path], least_classes: int, tell: Tell) -> Folder:
    top = by_split.get("train", root)
    class_folders = _sub_folders(top)
    class_names = [folder.name for folder in class_folders]
    known = set(class_names)
    _check_classes(root, top, class_folders, least_classes, tell)
    found: list[tuple[str, Path, int, str | None]] = []
    for split, folder in by_split.items():
        for class_folder in _sub_folders(folder):
            where = class_folder.relative_to(root).as_posix()
            if class_folder.name not in known:
                tell(
                    "unknown_class", where,
                    f"The class {class_folder.name!r} is in {folder.name!r} but not in {top.name!r}; give it training "
                    f"pictures or remove {where!r}. Received: {str(root)!r}",
                )  # fmt: skip
            if class_folder.name not in class_names:
                class_names.append(class_folder.name)
            files = list(_files(class_folder, ()))
            if not files:
                tell(
                    "empty_class", where,
                    f"The class folder {where!r} is empty; add pictures or remove the folder. Received: {str(root)!r}",
                )  # fmt: skip
            label = class_names.index(class_folder.name)
            found += [(file.relative_to(root).as_posix(), file, label, split) for file in files]
    found.sort(key=lambda entry: entry[0])
    names, paths, labels, splits = ([entry[column] for entry in found] for column in range(4))
    return Folder(root, tuple(class_names), paths, names, labels, splits)  # type: ignore[arg-type]


def _check_classes(root: Path, top: Path, class_folders: list[Path], least_classes: int, tell: Tell) -> None:
    for folder in class_folders:
        inner = [inside.name for inside in _sub_folders(folder)]
        if inner and all(name.lower() in SPLIT_FOLDERS for name in inner):
            raise ValueError(
                f"The class folder {folder.name!r} holds split folders ({_listed(inner)}); put the splits above the "
                f"classes, as in {inner[0]}/{folder.name}. Received: {str(root)!r}"
            )
        if not folder.name.isprintable():
            raise ValueError(
                "A class name must be printable UTF-8 on one line; rename the folder. "
                f"Received: {str(folder.relative_to(root))!a}"
            )
    if len(class_folders) < least_classes:
        inner = [inside.name for inside in _sub_folders(class_folders[0])]
        hint = f"if the classes are {_listed(inner)}, pass {str(class_folders[0])!r}" if inner else "add one"
        tell(
            "single_class", class_folders[0].relative_to(root).as_posix(),
            f"A classifier needs at least two classes, found only {class_folders[0].name!r}; {hint}. "
            f"Received: {str(top)!r}",
        )  # fmt: skip


def _no_loose_pictures(root: Path, folder: Path, tell: Tell) -> None:
    """Pictures outside class folders have no label; other files there (a README, a table) are none of our business."""
    for entry in _entries(folder):
        if entry.is_file() and is_picture(entry):
            tell(
                "outside_classes", entry.relative_to(root).as_posix(),
                f"The picture {entry.name!r} lies outside the class folders; move it into one or remove it. "
                f"Received: {str(folder)!r}",
            )  # fmt: skip


def _files(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Everything below `folder` that is not a folder; a link that leads back up is followed once only."""
    here = folder.resolve()
    if here in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(entry, (*above, here))
        else:
            yield entry


def _sub_folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ValueError(f"The folder cannot be read: {error.strerror}. Received: {str(folder)!r}") from None
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in _IGNORED]


def _listed(names: Iterable[str]) -> str:
    words = [repr(name) for name in names]
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
