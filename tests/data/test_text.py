"""Texts from tables, folders and lists: what is read, how it is split, and a sentence for each thing that can be wrong."""

import csv
import gzip
import json

import numpy as np
import pytest

from keras_transfer.data import TextData, load_texts

GOOD = [("a good film", "1"), ("very bad", "0"), ("fine", "1"), ("not fine", "0"), ("so so", "0"), ("great", "1")]


@pytest.fixture
def tsv(tmp_path):
    def write(rows=GOOD, name="reviews.tsv", header="label\ttext"):
        path = tmp_path / name
        lines = ([header] if header else []) + [f"{label}\t{text}" for text, label in rows]
        content = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def everything(data):
    """{text: (class name, split)} of all that was read."""
    return {
        text: (data.class_names[target], split)
        for split, texts in data.splits.items()
        for text, target in zip(texts.texts, texts.targets(), strict=True)
    }


def labels_of(data):
    return {text: label for text, (label, _) in everything(data).items()}


def test_a_table_is_read_whatever_its_form(tsv, tmp_path):
    """TSV, packed TSV, CSV with quotes, JSON lines, with and without a header: the same texts and labels."""
    forms = [tsv(), tsv(name="b.tsv.gz"), tsv(name="c.tsv", header=None)]
    with open(tmp_path / "d.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "review", "sentiment"], *((i, *row) for i, row in enumerate(GOOD))])
    (tmp_path / "e.jsonl").write_text("".join(json.dumps({"y": int(b), "sentence": a}) + "\n" for a, b in GOOD))
    (tmp_path / "f.txt").write_text("".join(f"{b};{a}\n" for a, b in GOOD))
    (tmp_path / "g.tsv").write_text("".join(f"x\t{a}\ty\t{b}\n" for a, b in GOOD))
    found = [load_texts(path) for path in [*forms, tmp_path / "d.csv", tmp_path / "e.jsonl"]]
    found.append(load_texts(tmp_path / "f.txt", delimiter=";"))
    found.append(load_texts(tmp_path / "g.tsv", text_columns=1, label_column=3))
    for data in found:
        assert labels_of(data) == dict(GOOD)
        assert data.class_names == ("0", "1")
        assert {split for _, split in everything(data).values()} == {"train", "validation"}


def test_a_text_keeps_its_quotes_commas_and_lines(tmp_path):
    texts = ['he said "no"', "one, two", "two\nlines"]
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label"], *((text, i % 2) for i, text in enumerate([*texts, "four"]))])
    assert set(labels_of(load_texts(tmp_path / "a.csv"))) == {*texts, "four"}
    (tmp_path / "b.tsv").write_text('0\the said "no\n1\tan open " quote\n0\tc\n1\td\n')
    assert 'an open " quote' in labels_of(load_texts(tmp_path / "b.tsv"))


def test_the_split_depends_on_texts_and_seed_not_on_the_order_of_lines(tsv):
    rows = [(f"text number {i}", str(i % 3)) for i in range(60)]
    first = everything(load_texts(tsv(rows)))
    assert everything(load_texts(tsv(rows[::-1], "other.tsv"))) == first
    assert everything(load_texts(tsv(rows), seed=1)) != first
    held = [text for text, (_, split) in first.items() if split == "validation"]
    assert len(held) == 12
    assert sorted(first[text][0] for text in held) == ["0"] * 4 + ["1"] * 4 + ["2"] * 4


def test_a_folder_of_tables_and_a_dict_of_files_keep_their_splits(tsv, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, rows in (("train", GOOD), ("dev", [("new one", "1")]), ("test", [("newest", "0"), ("last", "1")])):
        tsv(rows).rename(folder / f"{name}.tsv")
    data = load_texts(folder)
    assert [(split, len(texts)) for split, texts in data.splits.items()] == [
        ("train", 6),
        ("validation", 1),
        ("test", 2),
    ]
    assert data.held_out[0] == "test"
    assert data.splits["test"].names == ["test.tsv:2", "test.tsv:3"]
    again = load_texts({"train": folder / "train.tsv", "validation": folder / "dev.tsv", "test": folder / "test.tsv"})
    assert everything(again) == everything(data)
    # one line alone would be understood otherwise; the columns are those of the training table
    (folder / "dev.tsv").write_text("1\tnew one\n")
    (folder / "train.tsv").write_text("".join(f"{label}\t{text}\n" for text, label in GOOD))
    (folder / "test.tsv").unlink()
    assert labels_of(load_texts(folder))["new one"] == "1"


def test_a_folder_of_files_by_class(tmp_path):
    for split, label, name in [("train", "neg", 1), ("train", "pos", 2), ("train", "neg", 3), ("val", "pos", 4)]:
        place = tmp_path / "texts" / split / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.txt").write_text(f"text {name}\nof two lines\n", encoding="utf-8")
    data = load_texts(tmp_path / "texts")
    assert data.class_names == ("neg", "pos")
    assert everything(data)["text 4\nof two lines\n"] == ("pos", "validation")
    assert data.splits["train"].names == ["train/neg/1.txt", "train/neg/3.txt", "train/pos/2.txt"]
    with pytest.raises(ValueError, match=r"leave them out. Received: text_columns='text', delimiter=';' for"):
        load_texts(tmp_path, text_columns="text", delimiter=";")


def test_pairs_and_class_names(tmp_path):
    rows = [{"premise": f"p{i}", "hypothesis": f"h{i}", "label": i % 2} for i in range(6)]
    (tmp_path / "nli.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load_texts(tmp_path / "nli.jsonl", class_names=["yes", "no"])
    assert data.pairs
    assert data.class_names == ("yes", "no")
    assert labels_of(data)["p1", "h1"] == "no"
    first = next(iter(data.train))
    assert isinstance(first[0], tuple)
    assert first[0][0].dtype == "string"


def test_from_arrays_takes_names_integers_and_one_hot():
    texts, y = [text for text, _ in GOOD], np.array([int(label) for _, label in GOOD])
    named = TextData.from_arrays(np.array(texts, dtype=object), np.array(["bad", "good"])[y])
    assert named.class_names == ("bad", "good")
    plain, rows = TextData.from_arrays(texts, y), TextData.from_arrays(texts, np.eye(2)[y], labels="onehot")
    assert labels_of(plain) == labels_of(rows) == dict(GOOD)
    np.testing.assert_array_equal(rows.splits["train"].labels.argmax(1), rows.splits["train"].targets())
    held = TextData.from_arrays(texts, y, validation=(["another"], [1]), class_names=["no", "yes"])
    assert everything(held)["another"] == ("yes", "validation")


def test_it_shows_itself_and_writes_its_split(tsv, tmp_path):
    data = load_texts(tsv())
    assert str(data).startswith("TextData: 6 texts of 2 classes")
    assert "<table>" in data._repr_html_()
    with open(data.write_split(tmp_path / "split.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {f"reviews.tsv:{line}" for line in range(2, 8)}
    assert {row["split"] for row in rows} == {"train", "validation"}


def test_broken_lines_are_named_by_their_numbers_and_skipped_on_request(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n1\tgood\n0\n1\t \n\t text\n0\tbad\t more\n\n0\tbad\n1\tfine\n0\tpoor\n")
    with pytest.raises(ValueError, match="Examples that cannot be read: 4") as told:
        load_texts(path)
    for line in (
        "a.tsv:3: it has 1 columns, not 2",
        "a.tsv:4: its text is empty",
        "a.tsv:5: it has no label",
        "a.tsv:6:",
    ):
        assert line in str(told.value)
    data = load_texts(path, on_bad="skip")
    assert [name for name, _ in data.skipped] == ["a.tsv:3", "a.tsv:4", "a.tsv:5", "a.tsv:6"]
    assert set(labels_of(data)) == {"good", "bad", "fine", "poor"}
    lines = [
        '{"text": "a", "label": 1}',
        "{",
        "[1]",
        '{"text": 5, "label": 0}',
        '{"label": 0}',
        '{"text": "b", "label": 0}',
    ]
    (tmp_path / "b.jsonl").write_text("\n".join([*lines, '{"text": "c", "label": 0}', '{"text": "d", "label": 1}']))
    data = load_texts(tmp_path / "b.jsonl", on_bad="skip")
    assert [name for name, _ in data.skipped] == [f"b.jsonl:{line}" for line in (2, 3, 4, 5)]
    (tmp_path / "c.csv").write_text('text,label\n"a"b,1\nc,0\nd,1\ne,0\n')
    assert load_texts(tmp_path / "c.csv", on_bad="skip").skipped[0][0] == "c.csv:2"


def test_equal_texts_in_two_splits_or_under_two_labels(tsv, tmp_path):
    files = {"train": tsv([*GOOD, (" a  good film", "1")]), "test": tsv([("fine", "1"), ("new", "0")], "test.tsv")}
    with pytest.raises(ValueError, match="in two splits, 1 times"):
        load_texts(files)
    data = load_texts(files, on_bad="skip")
    assert [name for name, _ in data.skipped] == ["reviews.tsv:4"]  # the held-out one stays
    twice = [name for name, split in everything(data).items() if "good film" in name]
    assert len(twice) == 2  # twice in one split is twice
    assert len({everything(load_texts(tsv([*GOOD, (" a  good film", "1")])))[name][1] for name in twice}) == 1
    clash = tsv([*GOOD, ("fine", "0"), ("poor", "0")], "clash.tsv")
    with pytest.raises(ValueError, match="stands under two labels"):
        load_texts(clash)
    data = load_texts(clash, on_bad="skip")
    assert "fine" not in labels_of(data)
    assert len(data.skipped) == 2


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("", {}, "must hold a line"),
        ("label\ttext\n1\tgood\n1\tfine\n", {}, "at least two classes"),
        ("label\ttext\n1\tgood\n0\tbad\n", {"text_columns": "texts"}, "no such column. Did you mean 'text'"),
        ("label\ttext\n1\tgood\n0\tbad\n", {"label_column": 5}, "columns, 0 to 1"),
        ("label\ttext\n1\tgood\n0\tbad\n", {"text_columns": ["text", "label", "text"]}, "one column, or two"),
        ("label\ttext\n1\tgood\n0\tbad\n", {"text_columns": "text", "label_column": "text"}, "different columns"),
        ("good\nbad\n", {}, "has one column; name its `delimiter`"),
        ("1\ta\tb\tc\td\n0\ta\tb\tc\td\n", {}, "no header; name `text_columns`"),
        ("label\tfoo\tbar\n1\ta\tb\n0\tc\td\n", {"label_column": "label"}, "which column is the text"),
        ("1\tgood\n0\tbad\n", {"delimiter": ";;"}, "one character"),
        ("1\tgood\n0\tbad\n", {"class_names": ["one", "two", "one"]}, "stands twice"),
        ("1\tgood\n2\tbad\n", {"class_names": ["one", "two"]}, "names for 0 to 1"),
        ("1\tgood\n0\tbad\n", {}, "No class has two different texts"),
        ("1\tgood\n0\tbad\n", {"on_bad": "ignore"}, "'raise' or 'skip'"),
        ("1\tgood\n0\tbad\n", {"validation_fraction": 2}, "between 0 and 1"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, content, settings, message):
    path = tmp_path / "a.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as told:
        load_texts(path, **settings)
    assert "Received:" in str(told.value)


def test_what_is_wrong_with_a_file_is_told(tmp_path):
    (tmp_path / "latin.tsv").write_bytes("1\tgood\n0\tmis\u00e9rable\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"must be UTF-8.*line 2 holds the byte 0xe9"):
        load_texts(tmp_path / "latin.tsv")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"1\tgood\n0\tbad\n" * 99)[:40])
    with pytest.raises(ValueError, match=r"whole .gz"):
        load_texts(tmp_path / "cut.tsv.gz")
    with pytest.raises(ValueError, match="must exist"):
        load_texts(tmp_path / "none.tsv")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"ends in .tsv, .csv"):
        load_texts(tmp_path / "a.xlsx")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "reviews.tsv").write_text("1\tgood\n")
    with pytest.raises(ValueError, match=r"train.tsv and at most"):
        load_texts(folder)
    with pytest.raises(ValueError, match="named by 'train'"):
        load_texts({"training set": folder / "reviews.tsv"})
    (folder / "reviews.tsv").unlink()
    with pytest.raises(ValueError, match="one sub-folder of texts per class"):
        load_texts(folder)


def test_a_class_without_training_texts_is_refused(tsv):
    files = {"train": tsv(), "test": tsv([("new", "2")], "test.tsv")}
    with pytest.raises(ValueError, match="'2' has none"):
        load_texts(files)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (["a", ""], [0, 1], ValueError, "not empty"),
        (["a", 5], [0, 1], ValueError, "must hold texts"),
        (["a", ("b", "c")], [0, 1], ValueError, "all of one kind"),
        (["a", "b"], [0], ValueError, "a label for each of 2"),
        ("a text", [0], TypeError, "list or an array of strings"),
    ],
)
def test_what_is_wrong_with_lists_is_told(x, y, error, message):
    with pytest.raises(error, match=message):
        TextData.from_arrays(x, y)


def test_texts_without_a_tokenizer_say_what_to_do(tsv):
    data = load_texts(tsv())
    with pytest.raises(ValueError, match=r"data.tokenized\(model\)"):
        data.splits["train"].gather([0])
    with pytest.raises(ValueError, match="build_text_classifier"):
        data.tokenized(object())


def test_texts_for_a_finished_model(tsv):
    from keras_transfer.data.labelled_texts import load_labelled_texts

    split, texts, skipped = load_labelled_texts(tsv(GOOD[:2]), ["bad", "good"])
    assert (split, texts.targets().tolist(), skipped) == ("all", [1, 0], [])
    with pytest.raises(ValueError, match="does not know the class '7'"):
        load_labelled_texts(tsv([("new", "7"), ("old", "1")]), ["bad", "good"])


def test_sst2_as_it_lies_there(data_root):
    """Effect: 6,920 / 872 / 1,821 sentences, of which three of train stand in test too."""
    names = {"train": "train", "validation": "dev", "test": "test"}
    files = {split: data_root / "text" / f"sst2_{name}.tsv.gz" for split, name in names.items()}
    data = load_texts(files, class_names=["negative", "positive"], on_bad="skip")
    assert [len(texts) for texts in data.splits.values()] == [6917, 872, 1821]
    assert len(data.skipped) == 3
    assert labels_of(data)["one long string of cliches"] == "negative"
    with pytest.raises(ValueError, match="in two splits, 3 times"):
        load_texts(files)


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_missing_label_in_a_list_is_named_by_its_place(missing):
    labels = np.array(["pos", "neg", missing, "pos"] * 3, object)
    with pytest.raises(ValueError, match=r"Each text must have a label\. Received: .* at 2 of train"):
        TextData.from_arrays([f"text {k}" for k in range(12)], labels)


def test_labels_may_be_bytes():
    data = TextData.from_arrays([f"text {k}" for k in range(12)], np.array([b"pos", b"neg"] * 6))
    assert data.class_names == ("neg", "pos")


def test_two_columns_of_texts_are_asked_about(tmp_path):
    path = tmp_path / "news.csv"
    rows = "".join(f"{k % 2},title {k},a description {k}\n" for k in range(12))
    path.write_text("label,title,description\n" + rows)
    with pytest.raises(ValueError, match=r"several columns of texts; name `text_columns`.* \['title', 'description'\]"):
        load_texts(path)
    assert "title 1" in labels_of(load_texts(path, text_columns="title"))


def test_a_pair_is_a_pair_whatever_stands_beside_it(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = "".join(f"{k % 2},one {k},two {k},a title {k},more {k}\n" for k in range(12))
    path.write_text("label,sentence1,sentence2,title,description\n" + rows)
    assert ("one 1", "two 1") in labels_of(load_texts(path))
