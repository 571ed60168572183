"""A table of texts goes all the way: fit, run folder, predict, evaluate, report, export; and a method's adapter beside it."""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import keras_transfer as kt
from keras_transfer.cli.app import run as command

FILES = {
    "model.keras", "freeze.json", "model_float32.tflite", "io.json", "labels.txt", "certificate.json", "metrics.json",
    "predictions.csv", "history.json", "split.csv", "config.yaml", "report.html", "tokenizer.json", "vocabulary.txt",
}  # fmt: skip


@pytest.fixture(scope="session")
def table(tmp_path_factory, reviews):
    """The reviews as a .tsv with a head line."""
    texts, labels = reviews
    path = tmp_path_factory.mktemp("table") / "reviews.tsv"
    lines = [f"{text}\t{('bad', 'good')[label]}" for text, label in zip(texts, labels, strict=True)]
    path.write_text("\n".join(["text\tlabel", *lines]) + "\n")
    return path


def fitted(tmp_path_factory, table, preset, name, *options):
    root = tmp_path_factory.mktemp(name)
    before = os.getcwd()
    os.chdir(root)
    try:
        asked = ["--backbone", str(preset), "--max-length", "16", "--epochs", "2", "--output", "run"]
        assert command(["fit", str(table), *asked, *options]) == 0
    finally:
        os.chdir(before)
    return root / "run"


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, table, preset):
    """A finished run with the strategy `full`; tests must not change it."""
    return fitted(tmp_path_factory, table, preset, "text")


def test_every_file_is_there_and_the_figures_agree(text_run):
    assert {path.name for path in text_run.iterdir()} == FILES
    config = yaml.safe_load((text_run / "config.yaml").read_text())
    assert (config["task"], config["weights"], config["strategy"], config["epochs"]) == (
        "text",
        "pretrained",
        "full",
        2,
    )
    assert (text_run / "labels.txt").read_text().split() == ["bad", "good"]
    certificate = json.loads((text_run / "certificate.json").read_text())["float32"]
    assert certificate["passed"]
    assert certificate["length"] == 16
    metrics = json.loads((text_run / "metrics.json").read_text())
    assert certificate["accuracy_after"] == pytest.approx(metrics["validation"]["accuracy"])


def test_predict_takes_texts_and_files_of_them(text_run, capsys, tmp_path):
    (tmp_path / "more.txt").write_text("the film was bad .\n\na fine film !\n")
    texts = ["the film was good .", "the film was bad .", "a fine film !"]
    assert command(["predict", str(text_run), texts[0], "more.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in found] == texts
    served = kt.export.serving_model(kt.load(text_run)).predict(texts)
    for one, row in zip(found, served, strict=True):
        best = one["predictions"][0]
        assert best["probability"] == pytest.approx(row.max(), abs=1e-4)
        assert best["label"] == ("bad", "good")[row.argmax()]
    os.rename(text_run / "model_float32.tflite", tmp_path / "away.tflite")
    try:
        assert command(["predict", str(text_run), *texts, "--json"]) == 0
    finally:
        os.rename(tmp_path / "away.tflite", text_run / "model_float32.tflite")
    for one, again in zip(found, json.loads(capsys.readouterr().out), strict=True):
        assert again["predictions"][0]["probability"] == pytest.approx(one["predictions"][0]["probability"], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([" "], "A text must not be empty. Received: ' '"),
        (["nowhere.txt"], "The file of texts must exist. Received: 'nowhere.txt'"),
        (["table.tsv"], "tables and folders are for evaluate. Received: 'table.tsv'"),
        (["latin.txt"], "Received: 'latin.txt', whose line 1 holds the byte 0xe9"),
    ],
)
def test_bad_texts_are_2_and_a_sentence(text_run, capsys, arguments, told):
    Path("table.tsv").write_text("text\tlabel\n")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    assert command(["predict", str(text_run), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_evaluate_counts_texts_and_names_unknown_labels(text_run, table, capsys, tmp_path):
    assert command(["evaluate", str(text_run), str(table)]) == 0
    captured = capsys.readouterr()
    assert "on 48 given texts" in captured.out
    assert "Note: 48 of the 48 texts trained this model or chose its epoch" in captured.err
    (tmp_path / "other.tsv").write_text("text\tlabel\nthe film was good\tgod\na bad film\tbad\n")
    assert command(["evaluate", str(text_run), "other.tsv"]) == 2
    assert "Did you mean 'good'" in capsys.readouterr().err


def test_evaluate_separates_columns_as_the_run_did_unless_told(text_run, table, capsys, tmp_path):
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    (tmp_path / "other.csv").write_text("\n".join(map(";".join, rows)))
    (tmp_path / "other.tsv").write_bytes(table.read_bytes())
    (tmp_path / "other.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:])
    )
    assert command(["evaluate", str(text_run), "other.csv"]) == 2
    assert "delimiter=';' (--delimiter ';')" in capsys.readouterr().err
    assert command(["evaluate", str(text_run), "other.csv", "--delimiter", ";"]) == 0
    shutil.copytree(text_run, tmp_path / "run")
    config = yaml.safe_load((text_run / "config.yaml").read_text())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "delimiter": ";"}))
    for asked in (["other.csv"], ["other.tsv", "--delimiter", "tab"], ["other.jsonl"]):
        capsys.readouterr()
        assert command(["evaluate", "run", *asked]) == 0
        assert "on 48 given texts" in capsys.readouterr().out
    assert command(["evaluate", "run", "other.csv", "--delimiter", ";;"]) == 2
    assert "`delimiter` must be one character, or 'tab'. Received: ';;'" in capsys.readouterr().err


def test_the_report_shows_the_texts_that_were_mistaken(text_run, table):
    page = kt.pipeline.report_run(text_run).read_text("utf-8")
    wrong = [
        line.split(",")[0] for line in (text_run / "predictions.csv").read_text().splitlines()[1:]
        if line.split(",")[1] != line.split(",")[2]
    ]  # fmt: skip
    assert page.count("<blockquote>") == min(len(wrong), 12)
    assert "pictures" not in page
    lines = table.read_text().splitlines()
    for name in wrong[:1]:
        assert lines[int(name.rpartition(":")[2]) - 1].split("\t")[0] in page


def test_another_precision_and_data_that_have_moved(text_run, table, capsys, tmp_path):
    assert command(["export", str(text_run), "--precision", "dynamic"]) == 0
    assert "texts of 16 tokens" in capsys.readouterr().out
    (text_run / "model_dynamic.tflite").unlink()
    assert command(["export", str(text_run), "--data", "nowhere.tsv"]) == 2
    assert "The texts of the run have moved" in capsys.readouterr().err
    (tmp_path / "renamed.tsv").write_bytes(table.read_bytes())
    for asked in (["report"], ["export"]):
        assert command([*asked, str(text_run), "--data", str(tmp_path / "renamed.tsv")]) == 2
        assert "The data must be" in capsys.readouterr().err


@pytest.mark.slow
def test_a_method_leaves_its_adapter_and_a_plain_model(tmp_path_factory, table, preset, capsys):
    run = fitted(tmp_path_factory, table, preset, "lora", "--method", "lora", "--rank", "2")
    lora, head = 2 * 2 * 2 * (16 + 16), 16 * 2 + 2  # query and value of 2 layers, 16 by 16, by rank 2; the two logits
    assert f"trainable params: {lora + head} || all params: " in capsys.readouterr().out
    assert {path.name for path in run.iterdir()} == {*FILES, "adapter"}
    page = (run / "report.html").read_text()
    assert ", lora</p>" in page
    assert "from the tokens (left) to the head" in page
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["r"] == 2
    assert not isinstance(kt.load(run), kt.peft.Injected)
    base = kt.build_text_classifier(str(preset), 2, max_length=16)
    tuned = kt.peft.load_adapters(base, run / "adapter")
    ids = np.random.default_rng(0).integers(5, 21, (3, 16)).astype("int32")
    np.testing.assert_allclose(tuned.predict(ids, verbose=0), kt.load(run).predict(ids, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_a_method_without_an_adapter_file_leaves_the_injected_model(tmp_path_factory, table, preset, capsys):
    run = fitted(tmp_path_factory, table, preset, "prefix", "--method", "prefix", "--epochs", "1")
    assert {path.name for path in run.iterdir()} == FILES
    assert isinstance(kt.load(run), kt.peft.Injected)


@pytest.mark.slow
def test_ctrl_c_leaves_the_adapters_in_the_best_weights(tmp_path, table, preset, monkeypatch):
    """The weights that a method leaves are those of the injected model, and `--resume` goes on from them."""
    asked = ["fit", str(table), "--backbone", str(preset), "--max-length", "16", "--output", str(tmp_path / "run")]
    asked += ["--method", "lora", "--epochs", "2", "--quiet"]
    begin, epochs = keras.callbacks.CallbackList.on_epoch_begin, []

    def interrupt(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return begin(self, epoch, logs)

    monkeypatch.setattr(keras.callbacks.CallbackList, "on_epoch_begin", interrupt)
    assert command(asked) == 130
    best = kt.load(tmp_path / ".run.partial" / "best.keras")
    assert kt.peft.adapter_names(best) == ["default"]
    assert max(float(abs(one.numpy()).max()) for one in best.weights if one.path.endswith("lora_b")) > 0
    assert command([*asked, "--resume"]) == 0
    assert epochs[2:] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["houlsby", "prefix", "prompt", "ia3", "bitfit"])
def test_every_method_goes_all_the_way(tmp_path_factory, table, preset, method):
    run = fitted(tmp_path_factory, table, preset, method, "--method", method)
    assert json.loads((run / "certificate.json").read_text())["float32"]["passed"]
    assert kt.load(run).predict(np.ones((1, 16), "int32"), verbose=0).shape == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy", ["feature_extraction", "linear_probe", "nearest_mean", "partial", "layerwise", "progressive"]
)
def test_every_strategy_goes_all_the_way(tmp_path_factory, table, preset, strategy):
    # the pooled output of random weights hardly differs from text to text, and a probe would amplify its rounding
    run = fitted(tmp_path_factory, table, preset, strategy, "--strategy", strategy, "--pooling", "mean")
    assert json.loads((run / "certificate.json").read_text())["float32"]["passed"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "lora", "--strategy", "partial"], "freezes the encoder itself; leave `strategy` out"),
        (["--vocabulary", "nowhere.txt"], "`vocabulary` must be a file of tokens"),
        (["--weights", "nowhere.h5"], "`weights` must be 'pretrained', 'none' or an .h5 file that exists"),
        (["--text-columns", "sentence"], "sentence"),
        (["--label-column", "stars"], "stars"),
        (["--image-size", "64"], "`image_size` is for pictures"),
        (["--backbone", "bert_bas_en_uncased"], "Did you mean"),
        (["--max-length", "64"], "`max_length` must be at most 32"),
        (["--weights", "none", "--method", "lora"], "nothing for a method to build on"),
    ],
)
def test_bad_settings_are_2_and_a_sentence(table, preset, capsys, options, told):
    asked = ["--backbone", str(preset)] if "--backbone" not in options else []
    assert command(["fit", str(table), *asked, *options]) == 2
    assert told in capsys.readouterr().err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text\tlabel\na film\tgood\nanother\tgood\n", "two"),
        ("text\tlabel\na film\tgood\n\tbad\nbad film\tbad\n", "reviews.tsv:3"),
        ("text\tlabel\na film\tgood\nno label\nbad film\tbad\n", "reviews.tsv:3"),
        ("", "reviews.tsv"),
    ],
)
def test_bad_tables_are_2_and_a_sentence(preset, capsys, tmp_path, content, told):
    (tmp_path / "reviews.tsv").write_text(content)
    assert command(["fit", "reviews.tsv", "--backbone", str(preset)]) == 2
    assert told in capsys.readouterr().err
    assert os.listdir() == ["reviews.tsv"]


@pytest.mark.parametrize("data", ["reviews.tsv", "reviews.TSV.gz", "some/reviews.jsonl", "reviews"])
def test_a_run_is_called_like_its_table(data):
    from keras_transfer.pipeline.opening import data_name

    assert data_name(data, "run") == "reviews"
