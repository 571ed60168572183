"""The house rules, held against the sources: who may import what, and what nobody may do."""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "keras_transfer"
ISLANDS = ("tuning", "peft", "domain", "fewshot", "zeroshot", "pretrain", "multitask", "distill", "compress")
FLOORS = (("core",), ("data", "backbones"), ISLANDS, ("export", "evaluate"))
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FLOOR |= dict.fromkeys(("config", "pipeline", "tracking", "demo", "cli"), 4) | dict.fromkeys(
    ("__init__", "__main__"), 5
)
TENSORFLOW = (
    "core/",
    "data/",
    "backbones/tfhub.py",
    "export/",
    "domain/adda.py",
    "fewshot/maml.py",
)  # core/: inside functions
NO_TENSORFLOW = ("data/__init__.py", "data/resize.py")
PRIVATE = ("core/surgery.py", "core/training.py", "core/optimizers.py", "peft/quantized.py", "peft/lora.py")
PRIVATE += ("backbones/tfhub.py",)


@dataclass(frozen=True)
class Import:
    """One imported name, absolute, and whether it is imported only when a function runs."""

    name: str
    line: int
    in_function: bool


def _inside(tree: ast.AST, kinds: type | tuple[type, ...]) -> set[int]:
    return {id(inner) for node in ast.walk(tree) if isinstance(node, kinds) for inner in ast.walk(node)}


def imports(path: Path, tree: ast.Module) -> Iterator[Import]:
    """Every import that runs; those under `if TYPE_CHECKING` do not."""
    functions = _inside(tree, (ast.FunctionDef, ast.AsyncFunctionDef))
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    typing = {id(inner) for check in checks for inner in ast.walk(check)}
    package = ["keras_transfer", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, id(node) in functions) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{stem}.{alias.name}", node.lineno, id(node) in functions) for alias in node.names)


def room_of(path: Path) -> str:
    """The room that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floors(path: Path, tree: ast.Module) -> Iterator[str]:
    """Imports point down; rooms on floor 2 are islands; nobody imports the door."""
    here = room_of(path)
    if here not in FLOOR:
        yield "1: a room that the design does not have"
        return
    for found in imports(path, tree):
        parts = found.name.split(".")
        if parts == ["keras_transfer"]:
            yield f"{found.line}: the package imports its own door"
        elif parts[0] == "keras_transfer":
            there = parts[1]
            if there not in FLOOR:
                yield f"{found.line}: {there} is no room (or is a name of the door)"
            elif FLOOR[there] > FLOOR[here] or (here in ISLANDS and there in ISLANDS and here != there):
                yield f"{found.line}: {here} imports {there}"


def tensorflow(path: Path, tree: ast.Module) -> Iterator[str]:
    """TensorFlow where the backend must be TensorFlow, and in `core` only when a function runs."""
    inside = path.relative_to(PACKAGE).as_posix()
    for found in imports(path, tree):
        if found.name.split(".")[0] == "tensorflow":
            allowed = inside.startswith(TENSORFLOW) and inside not in NO_TENSORFLOW
            if not allowed or (room_of(path) == "core" and not found.in_function):
                yield f"{found.line}: TensorFlow here"


def private(path: Path, tree: ast.Module) -> Iterator[str]:
    """`keras.src` is nobody's, and the private attributes of other objects are for a few named files."""
    inside = path.relative_to(PACKAGE).as_posix()
    for found in imports(path, tree):
        if found.name.startswith("keras.src"):
            yield f"{found.line}: {found.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if f"{owner}.{node.attr}" == "keras.src":
                yield f"{node.lineno}: keras.src"
            own = owner.split(".")[0] in ("self", "cls") or "super(" in owner
            if re.match("_[a-z]", node.attr) and not own and inside not in PRIVATE:
                yield f"{node.lineno}: {owner}.{node.attr}"


def unsafe(path: Path, tree: ast.Module) -> Iterator[str]:
    """Nothing that runs what a file says."""
    arguments = {("allow_pickle", True), ("safe_mode", False), ("shell", True)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load"):
                yield f"{node.lineno}: {ast.unparse(node.func)}"
            for word in node.keywords:
                if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in arguments:
                    yield f"{node.lineno}: {word.arg}={word.value.value}"


SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("rule", [floors, tensorflow, private, unsafe])
def test_every_file_keeps_the_rule(rule):
    broken = [f"{path.relative_to(PACKAGE)}:{text}" for path, tree in SOURCES.items() for text in rule(path, tree)]
    assert not broken, "\n".join([rule.__doc__, *broken])


@pytest.mark.parametrize(
    ("rule", "file", "source"),
    [
        (floors, "core/x.py", "from ..tuning import full"),
        (floors, "tuning/x.py", "def f():\n    from ..peft.lora import Lora"),
        (floors, "data/x.py", "import keras_transfer"),
        (floors, "data/x.py", "from .. import load_images"),
        (floors, "misc/x.py", ""),
        (tensorflow, "tuning/x.py", "import tensorflow as tf"),
        (tensorflow, "core/x.py", "from tensorflow import nn"),
        (tensorflow, "data/resize.py", "def f():\n    import tensorflow"),
        (private, "data/x.py", "from keras.src import ops"),
        (private, "data/x.py", "import keras\nkeras.src.ops"),
        (private, "data/x.py", "model._layers"),
        (unsafe, "data/x.py", "numpy.load(path, allow_pickle=True)"),
        (unsafe, "data/x.py", "eval(text)"),
    ],
)
def test_a_rule_sees_what_breaks_it(rule, file, source):
    assert list(rule(PACKAGE / file, ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from ..core.files import sha256",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..cli import app",
    ],
)
def test_what_is_allowed_passes(source):
    assert list(floors(PACKAGE / "tuning/x.py", ast.parse(source))) == []


def test_files_hold_one_idea():
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > 250:
            warnings.warn(f"{path.relative_to(PACKAGE)} has {lines} lines; is it one idea?", stacklevel=1)
    assert all(ast.get_docstring(tree) for tree in SOURCES.values())


def test_the_hook_knows_every_module_that_registers_a_class_or_a_finder():
    from keras_transfer.core.hook import REGISTERING

    registering = set()
    for path, tree in SOURCES.items():
        classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
        marked = any("register" in ast.unparse(mark) for node in classes for mark in node.decorator_list)
        finder = any(ast.unparse(node).startswith("register_finder(") for node in tree.body)
        if marked or (finder and room_of(path) != "core"):
            registering.add(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    assert set(REGISTERING) == registering
