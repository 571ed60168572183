"""A comparison: its arithmetic against NumPy, its laws, and a small one that trains."""

import json
import math

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.evaluate.comparison import Comparison, make_row, pareto, ranked, read_comparison, standard_error

RNG = np.random.default_rng(0)


def row(name, share, runs=3, seconds=1.0, pictures=50):
    right = [RNG.random(pictures) < share for _ in range(runs)]
    told = {"seconds": seconds, "shared": 0.25, "trainable": 5}
    return make_row("net", name, [{"correct": one, **told} for one in right], None), right


def test_the_standard_error_is_that_of_paired_pictures_and_of_seeds():
    (one, a), (other, b) = row("a", 0.9), row("b", 0.6, runs=2)
    difference = np.mean(a, axis=0) - np.mean(b, axis=0)
    seeds = np.var([x.mean() for x in a], ddof=1) / 3 + np.var([x.mean() for x in b], ddof=1) / 2
    expected = math.sqrt(difference.var(ddof=1) / 50 + seeds)
    assert standard_error(one, other) == pytest.approx(expected, rel=1e-6)
    assert standard_error(other, one) == pytest.approx(expected, rel=1e-6)
    assert standard_error(one, one) == 0.0


def test_rows_are_ranked_and_those_within_two_standard_errors_are_marked():
    rows = ranked([row("low", 0.3)[0], row("high", 0.95)[0], row("near", 0.94)[0]])
    assert {one["strategy"] for one in rows[:2]} == {"high", "near"}
    assert [one["tied"] for one in rows] == [True, True, False]
    assert rows[0]["behind"] == 0.0


def test_the_pareto_front_holds_what_nothing_beats_in_both():
    rows = [{"accuracy": a, "seconds": s} for a, s in ((0.5, 1), (0.4, 2), (0.9, 3), (0.9, 4), (0.95, 9))]
    assert [(one["accuracy"], one["seconds"]) for one in pareto(rows)] == [(0.5, 1), (0.9, 3), (0.95, 9)]


def test_a_comparison_tells_itself_and_survives_a_file(tmp_path):
    rows = ranked([{**row("a", 0.9)[0], "took": 3.0}, {**row("b", 0.5, runs=1, seconds=3)[0], "took": 4.0}])
    found = Comparison(rows, "test", 50, 7.0, "a title", {})
    assert found.alone == pytest.approx(7 + 4 * 0.25)  # all that it took, and what the rows shared
    text = str(found)
    assert text.startswith("a title\n")
    assert "One run" in text
    assert text.splitlines()[2].startswith(found.best["strategy"])
    assert "<table>" in found._repr_html_()
    (tmp_path / "comparison.json").write_text(json.dumps(found.to_dict()))
    again = read_comparison(tmp_path / "comparison.json")
    assert str(again) == text
    assert found.plot()._repr_png_()[:4] == b"\x89PNG"


@pytest.fixture(scope="module")
def colours():
    """Two classes that differ in colour: learned in a moment."""
    y = np.arange(24) % 2
    x = RNG.integers(0, 60, (24, 32, 32, 3)).astype("uint8")
    x[y == 1, ..., 0] += 180
    return kt.ImageData.from_arrays(x, y, class_names=["blue", "red"], image_size=32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import keras

    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None).save_weights(path)
    return path


@pytest.mark.slow
def test_it_trains_every_row_and_goes_on_where_it_ended(colours, weights, tmp_path, monkeypatch):
    settings = {"backbone": "mobilenet_0.25", "weights": weights, "seeds": 2, "settings": {"*": {"epochs": 2}}}
    settings |= {"augmentation": "none", "export": False, "output": tmp_path / "out"}
    found = kt.compare(colours, strategies=["linear_probe", "scratch"], **settings)
    assert {one["strategy"]: one["runs"] for one in found.rows} == {"linear_probe": 1, "scratch": 2}
    assert all(one["seconds"] > 0 and 0 <= one["accuracy"] <= 1 for one in found.rows)
    scratch = next(one for one in found.rows if one["strategy"] == "scratch")
    probe = next(one for one in found.rows if one["strategy"] == "linear_probe")
    assert scratch["trainable"] > 100 * probe["trainable"]

    with monkeypatch.context() as patch:
        patch.setattr("keras_transfer.evaluate.side_by_side._runs", None)  # nothing may be trained again
        again = kt.compare(colours, strategies=["linear_probe", "scratch"], **settings)
    assert [one["accuracies"] for one in again.rows] == [one["accuracies"] for one in found.rows]
    with pytest.raises(ValueError, match="a comparison with other seeds"):
        kt.compare(colours, strategies=["linear_probe"], **{**settings, "seeds": 1})


class Finished:
    """`_runs` without a training: every picture is right, and it counts what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, base, file, name, data, seeds, given, augmentation):
        self.asked.append(name)
        run = {"correct": np.ones(len(data.held_out[1]), bool), "seconds": 1.0, "shared": 0.0, "trainable": 1}
        return [run for _ in seeds], None


@pytest.fixture
def finished(monkeypatch):
    made = Finished()
    monkeypatch.setattr("keras_transfer.evaluate.side_by_side._runs", made)
    return made


def test_a_row_without_its_file_is_made_again_where_the_file_is_asked_for(colours, finished, tmp_path, monkeypatch):
    files = {"linear_probe": {"bytes": 5, "latency_ms": 0.02, "unproven": None}}
    files["partial"] = {"bytes": None, "latency_ms": None, "unproven": "The converter refused the model."}
    monkeypatch.setattr("keras_transfer.evaluate.side_by_side._export", lambda model, data: files[finished.asked[-1]])
    asked = {"weights": "any.h5", "strategies": list(files), "seeds": 1, "output": tmp_path}
    assert [row["bytes"] for row in kt.compare(colours, export=False, **asked).rows] == [None, None]
    found = kt.compare(colours, export=True, **asked)
    assert finished.asked == [*files, *files]
    assert {row["strategy"]: row["bytes"] for row in found.rows} == {"linear_probe": 5, "partial": None}
    assert "0.02 ms" in str(found)
    assert "partial failed its certificate: The converter refused the model." in str(found)
    kt.compare(colours, export=True, **asked)
    kt.compare(colours, export=False, **asked)
    assert len(finished.asked) == 4


def test_a_file_that_fails_its_certificate_costs_no_row(monkeypatch):
    from dataclasses import replace

    from keras_transfer.evaluate import side_by_side
    from keras_transfer.export import CertificateError
    from keras_transfer.export.certificate import blank_certificate

    blank = blank_certificate("model.tflite", "float32", (8, 8), "squash", "test")

    def fails(model, path, *, data):
        raise CertificateError(replace(blank, reason="It differs.", bytes=7, latency_ms={"1": 2.0, "2": 1.0}))

    monkeypatch.setattr(side_by_side, "inference_model", lambda model: model)
    monkeypatch.setattr(side_by_side, "export_tflite", fails)
    assert side_by_side._export(None, None) == {"bytes": 7, "latency_ms": 2.0, "unproven": "It differs."}


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_a_file_that_is_no_comparison_is_told(colours, finished, tmp_path, content):
    (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(ValueError, match="which is none"):
        kt.compare(colours, weights="any.h5", strategies=["partial"], export=False, output=tmp_path)
    assert not finished.asked


def test_validation_pictures_that_judge_choose_no_epoch(colours, finished):
    asked = {"weights": "any.h5", "strategies": ["partial"], "seeds": 1, "export": False}
    for name in ("*", "partial"):
        with pytest.raises(ValueError, match="leave `keep` out"):
            kt.compare(colours, settings={name: {"keep": "best"}}, **asked)
    kt.compare(colours, settings={"*": {"keep": "last"}}, **asked)


def test_a_model_of_ones_own_is_copied_for_every_row(colours, tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((32, 32, 3))
    own = keras.Model(x, keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(x)), name="mine")
    before = own.get_weights()
    settings = {"backbone": own, "seeds": 1, "export": False, "augmentation": "none"}
    together = kt.compare(
        colours, strategies=["full", "linear_probe", "scratch"], settings={"*": {"epochs": 2}}, **settings
    )
    assert all((one == other).all() for one, other in zip(own.get_weights(), before, strict=True))
    assert {row["backbone"] for row in together.rows} == {"mine"}
    alone = kt.compare(colours, strategies=["linear_probe"], **settings)
    probe = next(row for row in together.rows if row["strategy"] == "linear_probe")
    assert probe["correct"] == alone.best["correct"]
    here = {**settings, "strategies": ["linear_probe"], "output": tmp_path / "out"}
    kt.compare(colours, **here)
    with pytest.raises(ValueError, match="a comparison with other preprocessing"):
        kt.compare(colours, preprocessing="unit", **here)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"strategies": ["fully"]}, ValueError, "Unknown strategy"),
        ({"strategies": "full"}, TypeError, "must be a list"),
        ({"strategies": []}, ValueError, "at least one name"),
        ({"seeds": 0}, ValueError, "seeds"),
        ({"seeds": [0, -1]}, ValueError, "`seeds`"),
        ({"seeds": [1, 1]}, ValueError, "different whole numbers"),
        ({"settings": {"ful": {}}}, ValueError, "by strategy"),
        ({"weights": None}, ValueError, "nothing to transfer"),
    ],
)
def test_bad_input_is_one_sentence(colours, given, error, words):
    with pytest.raises(error, match=words):
        kt.compare(colours, **given)


def test_data_must_be_image_data():
    with pytest.raises(TypeError, match=r"kt\.load_images"):
        kt.compare("photos/")


def test_the_strategies_of_the_settings_are_those_that_are_registered():
    from keras_transfer.config import STAGES
    from keras_transfer.core.registry import registered
    from keras_transfer.evaluate.asked import CLOSED, strategy_names

    assert set(STAGES) == set(registered("strategy")) == set(strategy_names()) - {"scratch"}
    assert {name for name, stages in STAGES.items() if not stages} == set(CLOSED)
