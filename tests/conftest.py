"""What every test may ask for: the folder of real data, and a quiet TensorFlow."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data and weights: KERAS_TRANSFER_DATA, else `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("KERAS_TRANSFER_DATA", default))
    if not (root / "DATA.md").exists():
        pytest.skip(f"no real data at {root}; set KERAS_TRANSFER_DATA")
    return root


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["a", "the", "film", "was", "is", "good", "bad", "fine", "poor", "very", "not", "one", "two", ".", ",", "!"]


@pytest.fixture(scope="session")
def text_classifier() -> Callable[..., object]:
    """A function that makes a tiny BERT classifier with a WordPiece tokenizer: 2 layers, 16 wide, 32 positions."""

    def make(classes: int = 2, *, layers: int = 2, words: object = "own", **settings: object) -> object:
        import keras
        import keras_hub

        from keras_transfer.backbones import build_text_classifier

        keras.utils.set_random_seed(0)
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=60,
            num_layers=layers,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=32,
        )
        given = {"vocabulary": WORDS} if words == "own" else {}
        return build_text_classifier(backbone, classes, **{"max_length": 16, **given, **settings})

    return make


@pytest.fixture(scope="session")
def reviews() -> tuple[list[str], list[int]]:
    """48 different sentences, good (1) and bad (0), of 4 to 12 words; a head can tell them apart."""
    texts = [
        f"{subject} {verb} {word}{end}"
        for subject in ("the film", "a film", "one film", "the two film")
        for verb in ("was", "is", "was very")
        for word, end in (("good", "."), ("fine", "!"), ("bad", " the the bad ."), ("poor", ", poor"))
    ]
    return texts, [int("good" in text or "fine" in text) for text in texts]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests are slow ones: with JAX, whose process takes ten seconds to start; and all but the first cases of `fast`."""
    seen: Counter[str] = Counter()
    for item in items:
        if "on_jax" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if (fast := item.get_closest_marker("fast")) and not item.get_closest_marker("slow"):
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > fast.args[0]:
                item.add_marker(pytest.mark.slow)


BLOCKED = """
import sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTensorFlow())
"""
ON_JAX = """
import keras
assert keras.config.backend() == "jax" and "tensorflow" not in sys.modules
print("done on JAX")
"""


@pytest.fixture
def on_jax() -> Callable[..., str]:
    """Run a script on the JAX backend in a process where TensorFlow cannot be imported; what it printed, the last line."""
    pytest.importorskip("jax")

    def run(script: str, *arguments: str) -> str:
        environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", BLOCKED + script + ON_JAX, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip().splitlines()[-1]

    return run


TWO_DEVICES = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
"""


@pytest.fixture
def two_devices() -> Callable[..., str]:
    """Run a script on TensorFlow in a process with two logical CPU devices (one failed collective spoils a process for good).

    `tf`, `keras` and `np` are imported; what it printed comes back, the last line.
    """

    def run(script: str, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", TWO_DEVICES + script, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        return (done.stdout.strip().splitlines() or [""])[-1]

    return run
