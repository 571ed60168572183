"""Figures that say what the numbers say, and show in a notebook without pyplot."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_transfer.evaluate import evaluate, plot_confusion, plot_history, report_from, show_predictions

STAGES = [{"name": "head", "first_epoch": 1}, {"name": "$top$", "first_epoch": 3}, {"name": "all", "first_epoch": 5}]
CURVES = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.8], "val_loss": [1.1, 0.7], "val_accuracy": [0.4, 0.7]}


def lines(axis):
    return {line.get_label(): list(line.get_ydata()) for line in axis.lines}


@pytest.mark.parametrize(
    "history", [CURVES, SimpleNamespace(history=CURVES, epoch=[0, 1]), {**CURVES, "epoch": [1, 2], "best_epoch": None}]
)
def test_the_curves_are_those_of_the_history(history):
    figure = plot_history(history)
    assert isinstance(figure, Figure)
    loss, accuracy = figure.axes
    assert lines(loss) == {"training": [1.0, 0.5], "validation": [1.1, 0.7]}
    assert lines(accuracy) == {"training": [0.5, 0.8], "validation": [0.4, 0.7]}
    assert list(loss.lines[0].get_xdata()) == [1, 2]


@pytest.mark.parametrize(
    "history", [SimpleNamespace(history=CURVES, best_epoch=1), {**CURVES, "epoch": [1, 2], "best_epoch": 2}]
)
def test_the_kept_epoch_is_marked(history):
    assert "kept: epoch 2" in lines(plot_history(history).axes[0])


def stage_lines(figure):
    return [[line.get_xdata()[0] for line in axis.lines if line.get_label().startswith("_")] for axis in figure.axes]


def staged(stages, epochs=6):
    return {"loss": [0.5] * epochs, "accuracy": [0.5] * epochs, "epoch": list(range(1, epochs + 1)), "stages": stages}


@pytest.mark.parametrize("as_file", [True, False])
def test_a_line_where_each_later_stage_begins_and_the_names_of_all(as_file):
    history = staged(STAGES)
    if not as_file:  # what `fit_stages` returns counts from 0
        stages = [{**stage, "first_epoch": stage["first_epoch"] - 1} for stage in history.pop("stages")]
        history.pop("epoch")
        history = SimpleNamespace(history=history, stages=stages, best_epoch=4)
    figure = plot_history(history)
    assert stage_lines(figure) == [[2.5, 4.5]] * 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["head", r"\$top\$", "all"]
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("history", [staged([]), staged(STAGES[:1]), CURVES])
def test_without_several_stages_there_are_no_lines(history):
    figure = plot_history(history)
    assert stage_lines(figure) == [[], []]
    assert not figure.axes[0].texts


def test_a_stage_that_did_not_run_is_not_drawn():
    assert stage_lines(plot_history(staged(STAGES, epochs=4))) == [[2.5], [2.5]]


def test_names_of_stages_do_not_overlap():
    stages = [{"name": f"a long name, {number}", "first_epoch": number} for number in range(1, 7)]
    figure = plot_history(staged(stages))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x1 <= figure.axes[0].get_window_extent().x1 + 2 for box in boxes)
    assert figure.axes[0].title.get_window_extent().y0 > max(box.y1 for box in boxes)


def test_a_history_without_curves_is_refused():
    with pytest.raises(ValueError, match=r"`loss` or `accuracy`\. Received: \['lr'\]"):
        plot_history({"lr": [1.0]})


def test_the_confusion_matrix_shows_the_counts():
    report = report_from(np.eye(3, dtype="float32")[[0, 1, 1, 2]], [0, 0, 1, 2], ["ant", "$b$", "wasp"])
    axis = plot_confusion(report).axes[0]
    assert sorted(text.get_text() for text in axis.texts) == ["1", "1", "1", "1"]
    np.testing.assert_array_equal(axis.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    assert plot_confusion(report)._repr_png_().startswith(b"\x89PNG")


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.images]


def test_predictions_show_the_most_confident_mistakes_first(model, photos):
    x, y = photos
    report = evaluate(model, photos)
    wrong = [i for i in np.argsort(-report.confidence, kind="stable") if report.predicted[i] != y[i]]
    assert len(wrong) > 5
    told = [f"{report.predicted[i]} {report.confidence[i]:.2f}\ntruly {y[i]}" for i in wrong]
    assert titles(show_predictions(model, photos, count=5)) == told[:5]
    every = titles(show_predictions(model, photos, count=40))
    assert every[: len(wrong)] == told
    assert not any("truly" in title for title in every[len(wrong) :])
    first = show_predictions(model, photos, count=6, wrong_first=False)
    for axis, picture in zip(first.axes[:6], x[:6], strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), picture)


def test_predictions_show_what_there_is(model, photos):
    assert len(titles(show_predictions(model, (photos[0][:2], photos[1][:2])))) == 2
    with pytest.raises(ValueError, match="at least 1"):
        show_predictions(model, photos, count=0)
    with pytest.raises(ValueError, match="needs labels"):
        show_predictions(model, photos[0])


def test_figures_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    plot_history(CURVES)
    assert plt.get_fignums() == []


def test_jupyter_is_given_a_picture():
    core = pytest.importorskip("IPython.core.formatters")
    data, _ = core.DisplayFormatter().format(plot_history(CURVES))
    assert data["image/png"]
