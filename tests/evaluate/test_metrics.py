"""The figures against ones worked out by hand, and every kind of data through `evaluate`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data import ImageData
from keras_transfer.evaluate import evaluate, read_predictions, report_from, write_predictions
from keras_transfer.export import inference_model

TARGETS = [0, 0, 0, 0, 1, 1, 2, 2]
PREDICTED = [0, 0, 1, 2, 1, 0, 2, 2]


def answers(predicted, classes):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(classes), len(predicted)) * 0.4
    p[np.arange(len(predicted)), predicted] += 0.6
    return p.astype("float32")


def test_number_figures_by_hand():
    report = report_from(answers(PREDICTED, 3), TARGETS, ["ant", "bee", "wasp"])
    assert report.accuracy == 5 / 8
    assert report.confusion.tolist() == [[2, 1, 1], [1, 1, 0], [0, 0, 2]]
    ant, bee, wasp = report.per_class
    assert (ant["name"], ant["support"], bee["support"], wasp["support"]) == ("ant", 4, 2, 2)
    assert ant["precision"] == pytest.approx(2 / 3)
    assert ant["recall"] == pytest.approx(2 / 4)
    assert bee["precision"] == pytest.approx(1 / 2)
    assert wasp["recall"] == pytest.approx(1)
    f1 = [2 * p * r / (p + r) for p, r in ((2 / 3, 1 / 2), (1 / 2, 1 / 2), (2 / 3, 1))]
    assert [row["f1"] for row in report.per_class] == pytest.approx(f1)
    assert report.macro_f1 == pytest.approx(np.mean(f1))


def test_number_against_numpy_on_many_classes():
    rng = np.random.default_rng(1)
    targets, predicted = rng.integers(0, 7, (2, 500))
    report = report_from(answers(predicted, 7), targets)
    counts = np.zeros((7, 7), int)
    np.add.at(counts, (targets, predicted), 1)
    np.testing.assert_array_equal(report.confusion, counts)
    f1 = 2 * np.diag(counts) / (counts.sum(0) + counts.sum(1))
    assert report.macro_f1 == pytest.approx(f1.mean())
    assert report.accuracy == pytest.approx(np.trace(counts) / 500)


def test_classes_without_a_picture_neither_crash_nor_count():
    report = report_from(answers([0, 1, 1], 4), [0, 0, 1], ["a", "b", "c", "d"])
    assert report.per_class[3] == {"name": "d", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert report.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    predicted_only = report_from(answers([0, 2], 4), [0, 0])
    assert predicted_only.macro_f1 == pytest.approx((2 / 3 + 0) / 2)


def test_contract_the_figures_of_metrics_json():
    found = json.loads(json.dumps(report_from(answers(PREDICTED, 3), TARGETS, ["ant", "bee", "wasp"]).to_dict()))
    assert list(found) == ["accuracy", "macro_f1", "expected_calibration_error", "per_class"]
    assert list(found["per_class"]) == ["ant", "bee", "wasp"]
    assert set(found["per_class"]["ant"]) == {"precision", "recall", "f1", "support"}


def test_shows_as_a_table():
    report = report_from(answers(PREDICTED, 3), np.eye(3)[TARGETS], ["<b>ant</b>", "bee", "wasp"])
    assert "accuracy 0.6250" in str(report)
    assert "wasp" in str(report)
    assert "&lt;b&gt;ant&lt;/b&gt;" in report._repr_html_()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": np.full((8, 3), np.nan)}, "must be finite"),
        ({"probabilities": np.zeros(8)}, "shape"),
        ({"targets": [3] * 8}, r"from 0 to 2.* from 3 to 3"),
        ({"targets": [-1] * 8}, "from 0 to 2"),
        ({"targets": [0.5] * 8}, "whole numbers"),
        ({"targets": ["ant"] * 8}, "whole numbers"),
        ({"targets": np.eye(4)[[0] * 8]}, r"one-hot of shape \(pictures, 3\)"),
        ({"targets": [0, 1]}, "one target"),
        ({"class_names": ["a", "a", "b"]}, "3 different names"),
        ({"names": ["one"]}, "one name a picture"),
    ],
)
def test_answers_that_do_not_fit_are_refused(change, message):
    arguments = {"probabilities": answers(PREDICTED, 3), "targets": TARGETS, **change}
    with pytest.raises(ValueError, match=message):
        report_from(**arguments)


def test_law_every_kind_of_data_gives_the_same_report(model, photos):
    x, y = photos
    expected = np.asarray(inference_model(model)(x.astype("float32")))
    one_hot = np.eye(3)[y]
    data = ImageData.from_arrays(x[20:], y[20:], class_names=["a", "b", "c"], validation=(x[:20][::-1], y[:20][::-1]))
    reports = [
        evaluate(model, (x, y)),
        evaluate(model, (x, one_hot)),
        evaluate(model, (x, y[:, None].astype("float32"))),
        evaluate(model, tf.data.Dataset.from_tensor_slices((x, one_hot)).batch(13)),
        evaluate(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(64)),
    ]
    for report in reports:
        np.testing.assert_allclose(report.probabilities, expected, atol=1e-6)
        np.testing.assert_array_equal(report.targets, y)
        assert report.class_names == ("0", "1", "2")
        assert report.names[3] == "3"
    held = kt.evaluate(model, data)
    assert held.split == "validation"
    assert held.class_names == ("a", "b", "c")
    assert held.names == tuple(map(str, data.splits["validation"].names))
    np.testing.assert_allclose(held.probabilities, expected[:20][::-1], atol=1e-6)
    split = evaluate(model, data.splits["validation"], class_names=["a", "b", "c"])
    np.testing.assert_array_equal(split.probabilities, held.probabilities)


def test_what_cannot_be_evaluated_is_refused(model, photos):
    x, y = photos
    for data, message in (
        (x, "needs labels"),
        ((x, y + 1), "from 0 to 2"),
        ((x[:, :8], y), r"shape \(batch, 16, 16, 3\)"),
        (tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat(), "finite"),
        (tf.data.Dataset.from_tensor_slices((x, y)).batch(4).take(0), "at least one"),
        (tf.data.Dataset.from_tensor_slices((x, y)), "batches"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(model, data)
    with pytest.raises(ValueError, match="3 different names"):
        evaluate(model, (x, y), class_names=["a"])


def test_a_model_in_mixed_precision_is_measured_as_its_float32_twin(photos, build):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    x = photos[0].astype("float32")
    np.testing.assert_allclose(evaluate(model, photos).probabilities, inference_model(model)(x), atol=1e-6)


def test_contract_predictions_csv(tmp_path):
    names = ["ant", "bee, wild", 'a "wasp"']
    report = report_from(answers(PREDICTED, 3), TARGETS, names, [f"ant/{i}\udcff.jpg" for i in range(8)], "test")
    path = write_predictions(tmp_path / "predictions.csv", report)
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == 'path,label,predicted,confidence,p_ant,"p_bee, wild","p_a ""wasp"""'
    assert lines[1].startswith("ant/0\\udcff.jpg,ant,ant,0.")
    assert len(lines) == 9
    again = read_predictions(path, "test")
    np.testing.assert_allclose(again.probabilities, report.probabilities, rtol=1e-6)
    figures, expected = again.to_dict(), report.to_dict()
    error = "expected_calibration_error"
    assert figures.pop(error) == pytest.approx(expected.pop(error), abs=1e-6)  # of seven digits
    assert figures == expected
    assert again.class_names == tuple(names)


@pytest.mark.parametrize("text", ["", "path,label\n", "path,label,predicted,confidence,p_a\nx,b,a,1,1\n"])
def test_another_csv_is_refused(tmp_path, text):
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(ValueError, match=r"predictions\.csv"):
        read_predictions(tmp_path / "predictions.csv")
