"""The small pieces of core: files that are whole or absent, names, lazy doors, the loss that fits."""

import contextlib
import math

import keras
import pytest

from keras_transfer.core.files import atomic_write, sha256, temporary_sibling, write_json
from keras_transfer.core.messages import nearest
from keras_transfer.core.outputs import classification_loss, gives_logits
from keras_transfer.core.progress import progress
from keras_transfer.core.registry import register


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = atomic_write(tmp_path / "a.txt", "old")
    with contextlib.suppress(RuntimeError), temporary_sibling(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(ValueError, match="folder of the file"):
        atomic_write(tmp_path / "no" / "a.txt", "x")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", math.nan)
    assert sha256(atomic_write(tmp_path / "abc", "abc")).startswith("ba7816bf8f01cfea")  # FIPS 180-2, "abc"


def test_nearest():
    assert nearest("quary", ["query", "key"]) == "Did you mean 'query'?"
    assert nearest("zzz", ["query", "key"]) == "Known: 'query', 'key'."
    assert nearest("x", []) == "There are none."


def test_progress_passes_everything_on(capsys):
    assert list(progress(iter(range(3)), total=3, text="x", show=True)) == [0, 1, 2]
    assert list(progress(iter(range(3)), total=3, text="x")) == [0, 1, 2]  # no terminal here: no bar


def test_one_name_one_thing():
    register("test-thing", kind="test")(test_nearest)
    register("test-thing", kind="test")(test_nearest)  # a module that is read again
    with pytest.raises(ValueError, match="once"):
        register("test-thing", kind="test")(test_progress_passes_everything_on)


@pytest.mark.parametrize(
    ("last", "logits"),
    [
        (lambda: keras.layers.Dense(3), True),
        (lambda: keras.layers.Dense(3, activation="softmax"), False),
        (lambda: keras.layers.Dense(3, activation="sigmoid"), False),
        (lambda: keras.layers.Softmax(), False),
        (lambda: keras.Sequential([keras.layers.Dropout(0.1), keras.layers.Dense(3)]), True),
        (lambda: keras.layers.Activation("softmax"), False),
        (lambda: lambda x: keras.ops.softmax(keras.layers.Dense(3)(x)), False),
        (lambda: lambda x: keras.ops.relu(keras.layers.Dense(3)(x)), True),
        (lambda: keras.layers.MultiHeadAttention(1, 3), True),
    ],
)
def test_logits_are_told_from_probabilities(last, logits):
    x = keras.Input((3, 3))
    layer = last()
    model = keras.Model(x, layer(x, x) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(x))
    assert gives_logits(model) is logits
    assert classification_loss(model, one_hot=True).get_config()["from_logits"] is logits
