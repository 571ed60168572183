"""What tables of texts hold that nobody expects: odd cells, odd names, a first line that may be a header."""

import gzip
import json
import re

import pytest

from keras_transfer.data import TextData, load_texts
from keras_transfer.data.labelled_texts import load_labelled_texts

GOOD = "a film\tgood\nb film\tbad\nc film\tgood\nd film\tbad\n"


def test_json_lines_that_are_no_example_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    bad = ['"hello"', '{"text": "b", "label": ' + "1" * 5000 + "}", '{"text": "c", "label": NaN}']
    bad += ['{"text": "\\ud800 d", "label": 0}']
    good = [f'{{"text": "text {i}", "label": {i % 2}}}' for i in range(4)]
    path.write_text("\n".join([*bad, *good]))
    data = load_texts(path, on_bad="skip")
    assert data.skipped == [
        ("a.jsonl:1", "it is no JSON object"),
        ("a.jsonl:2", "it holds a number of thousands of digits"),
        ("a.jsonl:3", "its label is no number (nan)"),
        ("a.jsonl:4", "its text holds half a character (a lone surrogate)"),
    ]
    assert sum(map(len, data.splits.values())) == 4


def test_a_first_line_that_names_the_columns_is_no_example(tmp_path):
    """With names that nobody knows it would become a class of its own."""
    path = tmp_path / "a.tsv"
    path.write_text("phrase\tstars\n" + GOOD)
    with pytest.raises(ValueError, match=r"first line of a\.tsv seems to name the columns.*'stars'"):
        load_texts(path)
    assert load_texts(path, text_columns="phrase", label_column="stars").class_names == ("bad", "good")
    path.write_text("a film\tso so\nb film\tgood\nc film\tbad\nd film\tgood\n")  # "bad" has one text too
    assert len(load_texts(path).class_names) == 3
    path.write_text("a film\tgood\nb film\tbad\nc film\tbad\n")
    assert len(load_labelled_texts(path, ["bad", "good"])[1]) == 3  # to judge on, a label may stand once


def test_a_column_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,text,label\na,b,0\nc,d,1\ne,f,0\ng,h,1\n")
    with pytest.raises(ValueError, match="several columns 'text'"):
        load_texts(path)


@pytest.mark.parametrize(
    ("name", "content", "sign"),
    [
        ("a.csv", "text;label\na film, fine;good\nbad, bad;bad\nc film;good\nd film;bad\n", ";"),
        ("a.csv", '"text";"label"\n"a film";"good"\n"b; film";"bad"\n"c film";"good"\n"d film";"bad"\n', ";"),
        ("a.csv", GOOD, "\t"),
        ("a.tsv", "text,label\na film,good\nb film,bad\nc film,good\nd film,bad\n", ","),
        ("a.tsv", "text|label\na film|good\nb film|bad\nc film|good\nd film|bad\n", "|"),
    ],
)
def test_another_delimiter_is_seen_and_the_error_names_it(tmp_path, name, content, sign):
    (tmp_path / name).write_text(content)
    shown = "tab" if sign == "\t" else f"'{sign}'"
    with pytest.raises(ValueError, match=re.escape(f"delimiter={sign!r} (--delimiter {shown}). Received: ")):
        load_texts(tmp_path / name)
    data = load_texts(tmp_path / name, delimiter=sign)
    assert data.class_names == ("bad", "good")
    assert sum(map(len, data.splits.values())) == 4


def test_signs_in_texts_are_no_delimiters(tmp_path):
    """A broken first line is one; JSON lines have no delimiter."""
    (tmp_path / "a.tsv").write_text("no label; here\n" + GOOD.replace(" film", " film; or, not |"))
    data = load_texts(tmp_path / "a.tsv", on_bad="skip")
    assert [name for name, _ in data.skipped] == ["a.tsv:1"]
    assert sum(map(len, data.splits.values())) == 4
    rows = [json.dumps({"text": line.split("\t")[0], "label": line.split("\t")[1]}) for line in GOOD.splitlines()]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert load_texts(tmp_path / "a.jsonl", delimiter=";").class_names == ("bad", "good")
    for sign in ('"', "\n", ";;", ""):
        with pytest.raises(ValueError, match="must be one character, no quote and no end of line"):
            load_texts(tmp_path / "a.tsv", delimiter=sign)


def test_endings_in_capitals(tmp_path):
    (tmp_path / "A.TSV.GZ").write_bytes(gzip.compress(GOOD.encode()))
    assert load_texts(tmp_path / "A.TSV.GZ").class_names == ("bad", "good")
    (tmp_path / "A.TSV.GZ").rename(tmp_path / "TRAIN.TSV.GZ")
    assert load_texts(tmp_path).class_names == ("bad", "good")


def test_numbers_stand_for_classes_only_where_no_class_is_a_number(tmp_path):
    """Among classes 1 to 5 the label 0 is not the first class."""
    (tmp_path / "a.tsv").write_text("a film\t0\nb film\t1\n")
    assert load_labelled_texts(tmp_path / "a.tsv", ["bad", "good"])[1].targets().tolist() == [0, 1]
    with pytest.raises(ValueError, match="does not know the class '0'"):
        load_labelled_texts(tmp_path / "a.tsv", ["1", "2"])
    with pytest.raises(ValueError, match="does not know the class '0'"):
        load_labelled_texts(tmp_path / "a.tsv", ["1.0", "2.0"])


def test_lists_that_are_no_texts_are_refused():
    with pytest.raises(ValueError, match="`validation` must be a pair"):
        TextData.from_arrays(["a", "b", "c", "d"], [0, 1, 0, 1], validation=[])
    with pytest.raises(ValueError, match="must hold texts"):
        TextData.from_arrays(["a", "b\ud800", "c", "d"], [0, 1, 0, 1])
