"""Texts on the command line: what is a pair, what is a file, and what is told of settings and data that do not fit."""

import pytest
import yaml

import keras_transfer as kt
from keras_transfer.cli.app import run as command
from keras_transfer.cli.predict import as_given, find_texts
from keras_transfer.config import make_config, write_config
from keras_transfer.pipeline.choices import unused
from keras_transfer.pipeline.resuming import settle
from keras_transfer.pipeline.texts import read


def test_a_tab_makes_a_pair_only_where_pairs_are_known(tmp_path, text_classifier):
    """A run says what it was trained on; an exported file alone is told by the tab."""
    (tmp_path / "run").mkdir()
    for pairs, found in ((False, ["a\tb"]), (True, [("a", "b")])):
        write_config(tmp_path / "run" / "config.yaml", make_config({"data": "a.tsv"}), {"pairs": pairs})
        assert as_given(["a\tb"], tmp_path / "run") == found
    assert as_given(["a\tb"], tmp_path) == [("a", "b")]
    for texts in (["a\tb", "c"], ["a\t"], ["a\tb\tc"]):
        with pytest.raises(ValueError, match="two texts with one tab between them"):
            as_given(texts, tmp_path)
    with pytest.raises(ValueError, match="all like the first, a pair of strings"):
        kt.export.serving_model(text_classifier()).predict([("a", "b"), "c"])


def test_a_line_that_unicode_would_break_is_one_text(tmp_path):
    (tmp_path / "new.txt").write_bytes("one\u2028line\r\nanother\n".encode())
    assert find_texts([str(tmp_path / "new.txt")]) == ["one\u2028line", "another"]


def test_a_folder_of_texts_says_which_task_it_is_for(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("text\tlabel\na film\tgood\n")
    assert command(["fit", str(tmp_path)]) == 2
    assert "give --task text" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [kt.compare, kt.advise])
def test_what_is_for_pictures_says_so(asked):
    with pytest.raises(TypeError, match=r"must be an ImageData.*Received: TextData"):
        asked(kt.TextData.from_arrays(["a", "b", "c", "d"], [0, 1, 0, 1]))


def test_the_delimiter_is_read_again_and_a_run_goes_on_with_it(tmp_path):
    (tmp_path / "reviews.csv").write_text("text;label\na film, fine;good\nb;bad\nc;good\nd;bad\n")
    told = {"data": "reviews.csv", "text_columns": "0", "label_column": "1"}
    config = make_config({**told, "delimiter": ";"})
    written = yaml.safe_load(write_config(tmp_path / "config.yaml", config).read_text())
    for again in (config.model_dump(), written):
        assert read(again).class_names == ("bad", "good")
    settle(config, tmp_path)
    settle(make_config({**told, "delimiter": ";", "resume": True}), tmp_path)
    with pytest.raises(ValueError, match=r"`delimiter` must be ';'\. Received: '\|'"):
        settle(make_config({**told, "delimiter": "|", "resume": True}), tmp_path)


def test_notes_on_settings_without_use():
    told = {"data": "reviews.tsv", "method": "prefix", "rank": 4}
    assert "--rank is of lora and dora" in unused(make_config(told))
    assert unused(make_config({"data": "reviews.tsv", "weights": "none"})) is None
    assert unused(make_config({**told, "method": "dora"})) is None


def test_a_list_of_texts_says_how_it_is_passed(text_classifier):
    with pytest.raises(TypeError, match=r"kt\.TextData\.from_arrays\(texts, labels\)"):
        kt.tuning.full(text_classifier(), ["a film", "a bad film", "fine"], [1, 0, 1])
