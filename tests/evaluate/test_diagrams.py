"""The figures of calibration and of what each stage moved say what the numbers say."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from keras_transfer.evaluate import plot_calibration, plot_strategies, report_from
from keras_transfer.evaluate.block_strips import strips, table
from keras_transfer.evaluate.diagrams import COLOURS


def block(name, state, rate=None):
    return {"name": name, "state": state, "learning_rate": rate}


STAGES = [
    {"name": "head", "epochs": 2, "blocks": [*(block(f"b{i}", "frozen") for i in range(4)), block("head", "trained", 1.0)]},
    {
        "name": "$top$",
        "epochs": 3,
        "blocks": [
            *(block(f"b{i}", "frozen") for i in range(2)),
            *(block(f"b{i}", "fine-tuned", 0.01) for i in (2, 3)),
            block("head", "trained", 0.1),
        ],
    },
]  # fmt: skip


def test_the_bars_are_the_bins_of_the_report():
    random = np.random.default_rng(0)
    report = report_from(random.dirichlet(np.ones(3) * 0.4, 200), random.integers(0, 3, 200))
    diagram, counts = plot_calibration(report).axes
    assert [bar.get_height() for bar in diagram.containers[0]] == [row.accuracy or 0 for row in report.reliability]
    assert [bar.get_height() for bar in counts.containers[0]] == [row.count for row in report.reliability]
    for row, sure, unsure in zip(report.reliability, *diagram.containers[1:], strict=True):
        gap = (row.confidence or 0) - (row.accuracy or 0)
        assert (sure.get_height(), unsure.get_height()) == pytest.approx((max(gap, 0), max(-gap, 0)))
    assert f"{report.expected_calibration_error:.3f}" in diagram.get_title()


@pytest.mark.parametrize("history", [{"stages": STAGES, "loss": [1.0]}, SimpleNamespace(stages=STAGES, history={})])
def test_a_bar_a_block_as_high_as_its_rate(history):
    figure = plot_strategies(history)
    heights = [[bar.get_height() for bar in axis.containers[0]] for axis in figure.axes]
    # on the logarithmic scale 0.01, 0.1 and 1 are equally far apart
    assert heights == [pytest.approx([0.14] * 4 + [1.0]), pytest.approx([0.14, 0.14, 0.3, 0.3, 0.65])]
    colours = [bar.get_facecolor() for bar in figure.axes[1].containers[0]]
    assert colours == [to_rgba(COLOURS[one["state"]]) for one in STAGES[1]["blocks"]]
    assert figure.axes[1].get_title(loc="left") == r"\$top\$, 3 epochs"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_words_and_the_table_hold_neighbours_together():
    assert [strip["told"] for strip in strips(STAGES)] == [
        "b0 to b3 (4 blocks) frozen, head trained new at 1",
        "b0 to b1 (2 blocks) frozen, b2 to b3 (2 blocks) fine-tuned at 0.01, head trained new at 0.1",
    ]
    assert [(row["name"], [cell["told"] for cell in row["cells"]]) for row in table(STAGES)] == [
        ("b0 to b1 (2 blocks)", ["frozen", "frozen"]),
        ("b2 to b3 (2 blocks)", ["frozen", "fine-tuned at 0.01"]),
        ("head", ["trained new at 1", "trained new at 0.1"]),
    ]
    assert table([STAGES[0], {**STAGES[1], "blocks": STAGES[1]["blocks"][1:]}]) == []


def test_rates_without_a_number_and_falling_rates():
    unknown = [{**STAGES[0], "blocks": [block("b", "fine-tuned"), block("head", "trained")]}]
    (strip,) = strips(unknown)
    assert [cell["height"] for cell in strip["cells"]] == [1.0, 1.0]
    assert strip["told"] == "b fine-tuned, head trained new"
    falling = [{**STAGES[0], "blocks": [block(f"b{i}", "fine-tuned", 0.5 ** (3 - i)) for i in range(3)]}]
    assert strips(falling)[0]["told"] == "b0 to b2 (3 blocks) fine-tuned at 0.125 to 0.5"


def test_a_history_that_does_not_tell_is_refused():
    with pytest.raises(ValueError, match=r"stages with `blocks`.*Received: \['loss', 'stages'\]"):
        plot_strategies({"loss": [1.0], "stages": [{"name": "head"}]})
    with pytest.raises(ValueError, match="Received: SimpleNamespace"):
        plot_strategies(SimpleNamespace(history={}))
