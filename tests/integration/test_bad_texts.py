"""Bad texts, settings and adapters: one clear sentence that names the way out, and nothing left behind or changed."""

import gzip
import json
import struct

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_transfer import peft

GOOD = "text\tlabel\na film\tgood\nb film\tbad\nc film\tgood\nd film\tbad\n"
DATA = {
    "an empty table": (b"", "must hold a line"),
    "a header and no line": (b"text\tlabel\n", "at least one text"),
    "one label": (b"text\tlabel\na film\tgood\nb film\tgood\n", "every text has the label 'good'"),
    "an empty text": (GOOD.encode() + b" \tbad\n", "reviews.tsv:6: its text is empty"),
    "a text without a label": (GOOD.encode() + b"e film\t \n", "reviews.tsv:6: it has no label"),
    "broken lines": (GOOD.encode() + b"e film\nf film\tbad\tagain\n", "reviews.tsv:7: it has 3 columns, not 2"),
    "one column": (b"a film\nb film\n", "(--delimiter)"),
    "another delimiter": (GOOD.replace("\t", ";").encode(), "delimiter=';' (--delimiter ';')"),
    "one text under two labels": (GOOD.encode() + b"a  film\tbad\n", "stands under two labels"),
    "every text of a class the same": (b"text\tlabel\na\tgood\na\tgood\nb\tbad\n", "two different texts"),
    "not UTF-8": (GOOD.encode() + "é film\tgood\n".encode("latin-1"), "line 6 holds the byte 0xe9"),
    "a binary file": (b"\x7fELF\x02\x01\x01" + bytes(range(256)), "must be UTF-8"),
    "zero bytes": (bytes(4096), "has one column"),
}
OPTIONS = {
    "no such file": (["nowhere.tsv"], "must exist"),
    "a missing column": (["reviews.tsv", "--text-columns", "texts"], "Did you mean 'text'"),
    "a missing label column": (["reviews.tsv", "--label-column", "7"], "has 2 columns, 0 to 1"),
    "the label as the text": (
        ["reviews.tsv", "--text-columns", "label", "--label-column", "label"],
        "different columns",
    ),
    "three text columns": (["reviews.tsv", *["--text-columns", "text"] * 3], "text_columns"),
    "a delimiter of two signs": (["reviews.tsv", "--delimiter", ";;"], "one character, or 'tab'"),
    "an unknown preset": (["reviews.tsv", "--backbone", "bert_tiny_en_uncase"], "Did you mean 'bert_tiny_en_uncased'"),
    "a shape without weights": (["reviews.tsv", "--backbone", "minilm_l6"], "is a shape without weights"),
    "a shape without a vocabulary": (
        ["reviews.tsv", "--backbone", "minilm_l6", "--weights", "none"],
        "give its vocabulary (--vocabulary FILE",
    ),
    "nearly the name of a shape": (["reviews.tsv", "--backbone", "minilm_l9"], "Did you mean 'minilm_l6'"),
    "a preset's folder that is not there": (["reviews.tsv", "--backbone", "./presett"], "must exist; check the path"),
    "a folder that is no preset": (["reviews.tsv", "--backbone", "folder"], "must hold config.json"),
    "a weights file that is not there": (["reviews.tsv", "--weights", "nowhere.h5"], "an .h5 file that exists"),
    "a weights file cut short": (["reviews.tsv", "--weights", "cut.h5"], "no whole HDF5 file"),
    "a vocabulary that is not there": (["reviews.tsv", "--vocabulary", "nowhere.txt"], "`vocabulary` must be a file"),
    "a vocabulary without [UNK]": (["reviews.tsv", "--vocabulary", "words.txt"], "[UNK]"),
    "no tokens": (["reviews.tsv", "--max-length", "0"], "`max_length` must be a whole number of at least 3"),
    "more tokens than there is room for": (["reviews.tsv", "--max-length", "64"], "`max_length` must be at most 32"),
    "an unknown pooling": (["reviews.tsv", "--pooling", "sum"], "pooling"),
    "an unknown method": (["reviews.tsv", "--method", "lorra"], "lorra"),
    "rank 0": (["reviews.tsv", "--method", "lora", "--rank", "0"], "`rank` must be a whole number of at least 1"),
    "a method on random weights": (["reviews.tsv", "--method", "lora", "--weights", "none"], "to build on"),
    "a method and a strategy": (["reviews.tsv", "--method", "lora", "--strategy", "partial"], "leave `strategy` out"),
    "a setting of pictures": (["reviews.tsv", "--image-size", "64"], "`image_size` is for pictures"),
    "a packed table cut short": (["cut.tsv.gz"], "must be a whole .gz"),
    "JSON lines that are none": (["broken.jsonl"], "broken.jsonl:2: it is no JSON"),
    "one text in two splits": (["splits", "--task", "text"], "in two splits"),
    "a folder of texts for pictures": (["splits"], "give --task text"),
}


@pytest.mark.parametrize("kind", DATA)
def test_bad_tables(kind, expect_refused, preset, tmp_path):
    content, words = DATA[kind]
    (tmp_path / "reviews.tsv").write_bytes(content)
    expect_refused(["fit", "reviews.tsv", "--backbone", str(preset)], words)


@pytest.mark.parametrize("kind", OPTIONS)
def test_bad_options(kind, expect_refused, preset, tmp_path):
    (tmp_path / "reviews.tsv").write_text(GOOD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.h5").write_bytes((preset / "model.weights.h5").read_bytes()[:2000])
    (tmp_path / "words.txt").write_text("[PAD]\n[CLS]\n[SEP]\n[MASK]\nfilm\n")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(GOOD.encode() * 99)[:40])
    (tmp_path / "broken.jsonl").write_text('{"text": "a film", "label": 1}\n{"text": \n')
    (tmp_path / "splits").mkdir()
    for split in ("train", "test"):
        (tmp_path / "splits" / f"{split}.tsv").write_text(GOOD)
    arguments, words = OPTIONS[kind]
    at = [] if "--backbone" in arguments or kind == "a folder of texts for pictures" else ["--backbone", str(preset)]
    expect_refused(["fit", *arguments, *at], words)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("a misspelt name", "Did you mean 'bert_tiny_en_uncased'"),
        ("a name without weights", "is a shape without weights"),
        ("config.json", "must hold config.json"),
        ("model.weights.h5", "must hold model.weights.h5"),
        ("tokenizer.json", "must hold tokenizer.json"),
    ],
)
def test_the_encoder_is_looked_at_before_the_texts(missing, words, expect_refused, preset, tmp_path):
    """An empty table would be refused otherwise."""
    (tmp_path / "reviews.tsv").write_bytes(b"")
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in preset.iterdir():
        if file.is_file() and file.name != missing:
            (folder / file.name).write_bytes(file.read_bytes())
    names = {"a misspelt name": "bert_tiny_en_uncase", "a name without weights": "minilm_l6"}
    expect_refused(["fit", "reviews.tsv", "--backbone", names.get(missing, "copy")], words)


def small():
    """Dense layers of known weights; `inner` has the shape (6, 4)."""
    keras.utils.set_random_seed(7)
    x = numbers = keras.Input((6,), name="numbers")
    x = keras.layers.Dense(4, "relu", name="inner")(x)
    return keras.Model(numbers, keras.layers.Dense(2, name="head")(x))


class Subclassed(keras.Model):
    """A model without a graph."""

    def call(self, x):
        return x


INJECTIONS = {
    "an unknown method": (lambda model: peft.inject(model, "lorra", "inner"), "Did you mean 'lora'"),
    "an unknown setting": (lambda model: peft.inject(model, where="inner", rang=4), "Did you mean 'rank'"),
    "rank 0": (lambda model: peft.inject(model, where="inner", rank=0), "`rank` must be a whole number"),
    "rank NaN": (lambda model: peft.inject(model, where="inner", rank=float("nan")), "`rank` must be a whole number"),
    "dropout 1": (lambda model: peft.inject(model, where="inner", dropout=1.0), "`dropout`"),
    "a target that is not there": (lambda model: peft.inject(model, where="iner"), "Did you mean 'inner'"),
    "no attention to adapt": (lambda model: peft.inject(model), "say which layers in `where`"),
    "a target that trains whole": (lambda model: peft.inject(model, where="inner", train="inner"), "takes no adapter"),
    "a name with a slash": (lambda model: peft.inject(model, where="inner", name="../a"), "letters, digits"),
    "a prompt without blocks": (lambda model: peft.inject(model, "prompt"), "No transformer block"),
    "no graph": (lambda model: peft.inject(Subclassed()), "a Functional or a built Sequential model"),
    "a model that is not injected": (peft.merge, "what `kt.peft.inject` returns"),
    "no adapter of that name": (
        lambda model: peft.activate(peft.inject(small(), where="inner"), "german"),
        "no adapter of that name",
    ),
}


@pytest.mark.parametrize("kind", INJECTIONS)
def test_bad_injections(kind):
    call, words = INJECTIONS[kind]
    expect_unchanged(small(), call, words)


def expect_unchanged(model, call, words):
    """The call is refused in one sentence, and the model has the layers and the numbers that it had."""
    layers, values = list(model.layers), [one.copy() for one in model.get_weights()]
    with pytest.raises((ValueError, TypeError)) as told:
        call(model)
    assert words in str(told.value)
    assert "Received: " in str(told.value)
    assert all(one is other for one, other in zip(layers, model.layers, strict=True))
    assert all(np.array_equal(*pair) for pair in zip(values, model.get_weights(), strict=True))
    assert all(one.trainable for one in model.layers[1:])


def test_an_adapter_that_is_not_finite_is_not_merged():
    model = peft.inject(small(), where="inner", rank=2)
    model.get_layer("inner").adapters["default"].lora_b.assign(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match=r"no finite number cannot be merged.*Received: 'lora_b' at 'inner/default'"):
        peft.merge(model)
    assert peft.active(model) == ["default"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """The folder of an adapter of `small()`."""
    folder = tmp_path_factory.mktemp("adapter")
    return peft.save_adapters(peft.inject(small(), where="inner", rank=2), folder)


def header(data, change):
    """The bytes of a .safetensors file with another header; the numbers stay."""
    length = struct.unpack("<Q", data[:8])[0]
    told = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
    return struct.pack("<Q", len(told)) + told + data[8 + length :]


def renamed(to):
    return lambda arrays: {to if name.endswith("inner.lora_A.weight") else name: one for name, one in arrays.items()}


def typed(dtype):
    return lambda arrays: {name: one.astype(dtype) for name, one in arrays.items()}


WHOLE = "must be a whole .safetensors"
BYTES = {
    "an empty file": (lambda data: b"", WHOLE),
    "a truncated file": (lambda data: data[: len(data) // 2], WHOLE),
    "a header of an exabyte": (lambda data: struct.pack("<Q", 2**60) + data[8:], WHOLE),
    "a pickle": (lambda data: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix", WHOLE),
    "an archive of torch": (lambda data: b"PK\x03\x04" + data, WHOLE),
    "a header that is no JSON": (lambda data: data[:8] + b"{" * 64 + data[72:], WHOLE),
    "arrays that overlap": (
        lambda data: header(data, lambda told: told | {"x": next(one for one in told.values() if "dtype" in one)}),
        WHOLE,
    ),
    "an array beyond the end": (
        lambda data: header(
            data, lambda told: told | {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
        ),
        WHOLE,
    ),
}
ARRAYS = {
    "a path in a name": (renamed("base_model.model.../../etc/passwd.lora_A.weight"), "no such layer"),
    "an absolute path in a name": (renamed("/etc/passwd"), "An array of LoRA ends in"),
    "a layer that the model has not": (renamed("base_model.model.iner.lora_A.weight"), "Did you mean 'inner'"),
    "whole numbers": (typed("int32"), "arrays are floats"),
    "truth values": (typed("bool"), "arrays are floats"),
    "numbers that are none": (lambda arrays: {name: one * np.nan for name, one in arrays.items()}, "must be finite"),
    "another rank": (lambda arrays: {name: one[:1].copy() for name, one in arrays.items()}, "says rank 2"),
    "no array": (lambda arrays: {}, "must hold an adapter"),
}
CONFIGS = {
    "a config that is no JSON": ("{", "adapter_config.json"),
    "a config of another method": ('{"peft_type": "IA3"}', "IA3"),
    "a config without a rank": ('{"peft_type": "LORA", "target_modules": ["inner"]}', "adapter_config.json"),
}


def copied(adapter, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in adapter.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("kind", [*BYTES, *ARRAYS])
def test_bad_adapter_files(kind, adapter, tmp_path):
    change, words = {**BYTES, **ARRAYS}[kind]
    file = copied(adapter, tmp_path) / "adapter_model.safetensors"
    if kind in BYTES:
        file.write_bytes(change(file.read_bytes()))
    else:
        save_file(change(load_file(file)), file)
    expect_unchanged(small(), lambda model: peft.load_adapters(model, file.parent), words)


@pytest.mark.parametrize("kind", CONFIGS)
def test_bad_adapter_configs(kind, adapter, tmp_path):
    content, words = CONFIGS[kind]
    folder = copied(adapter, tmp_path)
    (folder / "adapter_config.json").write_text(content)
    expect_unchanged(small(), lambda model: peft.load_adapters(model, folder), words)


def test_an_adapter_of_another_base_and_a_folder_that_is_none(adapter, tmp_path):
    other = small()
    other.get_layer("inner").kernel.assign_add(np.full((6, 4), 1e-3))
    expect_unchanged(other, lambda model: peft.load_adapters(model, adapter), "was trained on other weights")
    expect_unchanged(small(), lambda model: peft.load_adapters(model, tmp_path), "adapter_config.json")
    expect_unchanged(small(), lambda model: peft.load_adapters(model, tmp_path / "nowhere"), "adapter_config.json")
