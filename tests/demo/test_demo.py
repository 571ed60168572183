"""The demo as a whole: what it shows, and what it leaves behind."""

import json
import statistics

import numpy as np
import pytest

from keras_transfer.data.samples import few_digits
from keras_transfer.demo import rows, run_demo, show

WRITTEN = {
    "model.keras", "freeze.json", "model_float32.tflite", "io.json", "labels.txt", "certificate.json", "metrics.json",
    "predictions.csv", "history.json", "split.csv", "config.yaml", "report.html", "scan.json",
}  # fmt: skip


@pytest.fixture
def short(monkeypatch):
    """Two seeds of two methods, an epoch each: everything but the figures."""
    monkeypatch.setattr(show, "SEEDS", (0, 1))
    monkeypatch.setitem(rows.HEAD, "epochs", 1)
    for settings in (rows.EVERYTHING, *rows.STAGES[1:]):
        monkeypatch.setitem(settings, "epochs", 1)
    for name in ("from scratch", "frozen features", "staged fine-tuning"):
        monkeypatch.delitem(rows.ROWS, name)


@pytest.mark.slow
def test_demo_leaves_a_whole_run_and_takes_the_next_free_number(short, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models" / "demo").mkdir(parents=True)
    run = run_demo()
    assert run.name == "demo-2"
    assert {path.name for path in run.iterdir()} == WRITTEN
    assert {path.name for path in (tmp_path / "saved_models").iterdir()} == {"demo", "demo-2"}
    said = capfd.readouterr().out
    for part in ("pixel SVM", "full fine-tuning", "It holds the ten digits as print", "demo-2"):
        assert part in said
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"validation", "test", "last_epoch", "seconds"} <= set(metrics)
    io = json.loads((run / "io.json").read_text())
    assert (io["input"]["channels"], io["input"]["range"]) == (1, [0, 255])
    assert (run / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]


def test_existing_output_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="must not exist yet"):
        run_demo(tmp_path)


def test_shown_digits_chose_nothing():
    """The test digits are one fixed set, apart from those that are drawn for training and those that chose the recipes."""
    first, other = few_digits(seed=0, image_size=32), few_digits(seed=100, image_size=32)
    for split, count in (("validation", 497), ("test", 900)):
        ours, theirs = (rows.arrays(data, split)[0] for data in (first, other))
        assert len(ours) == count
        np.testing.assert_array_equal(ours, theirs)
    x, y = rows.arrays(first, "train")
    assert np.bincount(y).tolist() == [10] * 10
    drawn = {picture.tobytes() for picture in x}
    assert not drawn & {picture.tobytes() for picture in rows.arrays(other, "test")[0]}


def test_svm_is_a_baseline_worth_beating():
    row = rows.pixel_svm(few_digits(seed=100, image_size=32), 100, split="validation")
    assert row.accuracy > 0.88
    assert row.train_accuracy == 1.0


def test_the_staged_row_has_the_stages_of_the_recipe(short):
    history = rows.staged_fine_tuning(few_digits(seed=100, image_size=32), 100, split="validation").history
    told = [(stage["name"], stage["learning_rate"], stage["schedule"], stage["epochs"]) for stage in history.stages]
    assert told == [("head", 1e-2, "cosine", 1), ("top third", 1e-3, "cosine", 1), ("all", 1e-4, "cosine", 1)]
    trained = [stage["trainable"] for stage in history.stages]
    assert trained == sorted(trained)
    assert history.best_epoch is None  # the last is kept: no epoch is chosen


@pytest.mark.slow
def test_fine_tuning_beats_scratch_by_four_points_and_the_svm_by_two(tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(show, "print_table", shown.update)
    run = run_demo(tmp_path / "demo")
    mean = {name: statistics.mean(row.accuracy for row in results) for name, results in shown.items()}
    assert {name: len(results) for name, results in shown.items()} == dict.fromkeys(rows.ROWS, 3)
    assert mean["full fine-tuning"] >= mean["from scratch"] + 0.04
    assert mean["full fine-tuning"] >= mean["pixel SVM"] + 0.02
    assert mean["staged fine-tuning"] >= mean["from scratch"] + 0.04
    assert mean["staged fine-tuning"] >= mean["full fine-tuning"] - 0.01
    assert mean["frozen features"] >= mean["pixel SVM"] + 0.02
    assert min(row.train_accuracy for row in shown["from scratch"]) > 0.99  # the baseline learned what it was given
    test = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    assert test == pytest.approx(shown["full fine-tuning"][0].accuracy, abs=1e-6)


@pytest.mark.slow
def test_augmentation_narrows_the_gap_as_the_demo_says():
    """What the demo prints below its table, with two seeds: from-scratch gains, and stays below full fine-tuning."""

    def mean(method, **settings):
        data = [few_digits(seed=seed, image_size=32) for seed in (200, 201)]
        return statistics.mean(method(d, d.seed, split="validation", **settings).accuracy for d in data)

    plain, augmented = mean(rows.from_scratch), mean(rows.from_scratch, augmented=True)
    tuned = mean(rows.full_fine_tuning, augmented=True)
    assert plain + 0.01 < augmented < tuned
    assert tuned - augmented < 0.04
