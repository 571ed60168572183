"""`report.html` from a run folder: complete, self-contained, and safe against names."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from keras_transfer.evaluate import read_predictions, report_from, write_predictions, write_report
from keras_transfer.evaluate.charts import chart, nice_ticks, whole_ticks
from keras_transfer.evaluate.report import wilson

NAMES = ["ant", "<script>alert(1)</script>", "wasp & co"]


def certificate(passed=True):
    return {
        "precision": "float32",
        "file": "model_float32.tflite",
        "passed": passed,
        "reason": None if passed else "A probability differs by 0.3, more than 0.0001.",
        "pictures": 40,
        "split": "validation",
        "max_difference": 2e-7,
        "tolerance": 1e-4,
        "top1_agreement": 1.0,
        "ties": 0,
        "bytes": 1_600_000,
        "sha256": "ab" * 32,
        "image_size": [16, 16],
        "resize": "squash",
    }


@pytest.fixture
def run(tmp_path):
    """A run folder as `fit` leaves it, without the model."""
    folder = tmp_path / ".insects.partial"
    folder.mkdir()
    rng = np.random.default_rng(0)
    targets = np.arange(40) % 2
    probabilities = rng.dirichlet(np.ones(3), 40)
    report = report_from(probabilities, targets, NAMES, [f"{i}<i>.jpg" for i in range(40)], "validation")
    write_predictions(folder / "predictions.csv", report)
    curves = {
        "loss": [1.0, 0.5, 0.4],
        "accuracy": [0.5, 0.7, 0.8],
        "val_loss": [1, 0.8, 0.9],
        "val_accuracy": [0.4, 0.7, 0.6],
    }
    content = {
        "history.json": {"epoch": [1, 2, 3], **curves, "best_epoch": 2},
        "metrics.json": {
            "validation": report.to_dict(),
            "last_epoch": {"epoch": 3, "loss": 0.9, "accuracy": 0.6},
            "seconds": {"scan": 0.5, "fit": 10.25, "export": 2.0, "total": 13.0},
        },
        "certificate.json": {"float32": certificate()},
    }
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (folder / "config.yaml").write_text(
        "backbone: mobilenet_v2\nexport: [float32]\nversions:\n  keras: 3.15.1\nseed: null\n"
    )
    return folder


def change(run, name, edit):
    found = json.loads((run / name).read_text())
    edit(found)
    (run / name).write_text(json.dumps(found))


class Page(HTMLParser):
    """The tags and the text of a page; a tag that is not closed is an error."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "line", "circle", "polyline", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())


def page(run, **arguments):
    return Page(write_report(run, **arguments).read_text("utf-8"))


JSONS = ("history.json", "metrics.json", "certificate.json", "scan.json")
DAMAGED = [(name, content) for name in JSONS for content in ("[]", "null", '{"a":')]
DAMAGED += [("metrics.json", '{"validation": 3}'), ("scan.json", '{"format": 1, "findings": [3]}')]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_a_damaged_file_is_named(run, name, content):
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name} .*Received: "):
        write_report(run)


def test_a_scan_and_predictions_that_are_not_whole_are_named(run):
    (run / "scan.json").write_text('{"format": 1, "files": 3, "pictures": 3, "findings": [{"severity": "note"}]}')
    with pytest.raises(
        ValueError, match=r"scan\.json must be whole; scan the folder anew\. Received: one without 'text'"
    ):
        write_report(run)
    text = (run / "predictions.csv").read_text("utf-8")
    (run / "predictions.csv").write_text(text.replace("0.", "x."), "utf-8")
    with pytest.raises(ValueError, match=r"must be numbers\. Received: .*predictions\.csv"):
        write_report(run)


def test_it_tells_everything_of_the_run(run):
    found = page(run)
    for words in (
        "insects", "Validation chose the epoch: number 2 of 3 was kept", "The last epoch (3)", "60.0 %", "wasp & co",
        "model_float32.tflite: passed", "2e-07", "mobilenet_v2", "versions.keras", "3.15.1", "fit 10.2", "Macro F1",
        "Expected calibration error", "What is confused most",
    ):  # fmt: skip
        assert words in found.text, words
    assert sum(tag == "svg" for tag, _ in found.tags) == 3


def test_law_it_is_one_file_without_scripts_or_addresses(run):
    found = page(run, samples=lambda index: np.zeros((80, 80, 3), "uint8"))
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in found.tags}
    addresses = [value for _, attrs in found.tags for key, value in attrs.items() if key in ("src", "href")]
    assert addresses
    assert all(value.startswith("data:image/") for value in addresses)
    text = (run / "report.html").read_text("utf-8")
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
    assert "url(" not in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.tags
    assert "prefers-color-scheme: dark" in text


def test_law_names_are_text_and_nothing_else(run):
    found = page(run)
    assert "<script>alert(1)</script>" in found.text
    assert "<script>" not in (run / "report.html").read_text("utf-8")


def test_the_most_confident_mistakes_come_with_their_pictures(run):
    with open(run / "predictions.csv") as file:
        rows = [line.rstrip("\n").split(",") for line in file][1:]
    wrong = [(float(row[3]), index) for index, row in enumerate(rows) if row[1] != row[2]]
    expected = [index for _, index in sorted(wrong, key=lambda item: (-item[0], item[1]))][:12]
    asked = []

    def picture(index):
        asked.append(index)
        if index == expected[1]:
            raise OSError("gone")
        return None if index == expected[2] else np.full((16, 16, 1), index, "uint8")

    found = page(run, samples=picture)
    assert asked == expected
    images = [attrs for tag, attrs in found.tags if tag == "img"]
    assert len(images) == len(expected) - 2
    png = base64.b64decode(images[0]["src"].partition(",")[2])
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == np.full((16, 16), expected[0]).tolist()
    assert images[0]["alt"] == f"{expected[0]}<i>.jpg"


def test_without_pictures_the_mistakes_are_listed(run):
    found = page(run)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert "Most confident mistakes picture true predicted confidence" in found.text


def test_where_nothing_was_chosen_it_says_so(run):
    change(run, "history.json", lambda found: found.update(best_epoch=None))
    found = page(run)
    assert "The last epoch, number 3, was kept; validation chose nothing." in found.text
    assert "Validation chose" not in found.text


STAGE = {"learning_rate": 1e-3, "schedule": "constant", "seconds": 1.26}
STAGES = [
    {"name": "head", "first_epoch": 1, "trainable": 1210, "epochs": 1, **STAGE},
    {"name": "<b>top</b>", "first_epoch": 2, "trainable": 45678, "epochs": 1, **STAGE, "schedule": "one_cycle"},
    {"name": "all", "first_epoch": 3, "trainable": 123456, "epochs": 1, **STAGE, "learning_rate": None},
]


def stage_lines(found):
    return [float(attrs["x1"]) for tag, attrs in found.tags if tag == "line" and attrs["class"] == "stage"]


def test_stages_have_their_lines_and_their_table(run):
    change(run, "history.json", lambda found: found.update(stages=STAGES))
    found = page(run)
    charts = chart("Loss", [1, 2, 3], {"training": [1, 1, 1]})
    middle = [(charts["lines"][0]["points"][i][0] + charts["lines"][0]["points"][i + 1][0]) / 2 for i in (0, 1)]
    assert stage_lines(found) == pytest.approx(middle * 2, abs=0.1)
    rows = "head 1 0.001 1,210 1.3 <b>top</b> 1 0.001, one cycle 45,678 1.3 all 1 by its schedule 123,456 1.3"
    assert f"Stages stage epochs learning rate weights that train seconds {rows}" in found.text
    assert [words for words in found.words if words == "head"] == ["head"] * 3  # two charts and the table
    assert "What was trained" not in found.text  # these do not say what became of the blocks


@pytest.mark.parametrize("stages", [None, [], STAGES[:1]])
def test_one_stage_is_the_training_itself(run, stages):
    if stages is not None:
        change(run, "history.json", lambda found: found.update(stages=stages))
    found = page(run)
    assert stage_lines(found) == []
    assert "Stages" not in found.text
    assert 'viewBox="0 0 420.0 240.0"' in (run / "report.html").read_text("utf-8")


def test_names_of_stages_do_not_overlap_nor_leave_the_chart():
    stages = [{"name": f"stage {number} of many", "first_epoch": number} for number in range(1, 9)]
    drawn = chart("Loss", range(1, 9), {"training": [1.0] * 8}, None, stages)
    ends = [(one["y"], one["x"], one["x"] + 6.6 * len(one["name"])) for one in drawn["stages"]]
    assert len(ends) == 8
    for y, left, right in ends:
        assert left >= 46
        assert right <= 410
        assert sum(a < right and left < b for other, a, b in ends if other == y) == 1  # itself
    assert -drawn["above"] <= min(y for y, _, _ in ends) - 10


def test_long_names_of_stages_are_cut_in_the_chart_only(run):
    long = "everything, once more, " * 4
    change(run, "history.json", lambda found: found.update(stages=[STAGES[0], {**STAGES[1], "name": long}]))
    found = page(run)
    assert sum(words.endswith("…") for words in found.words) == 2
    assert " ".join(long.split()) in found.text


def test_a_test_split_stands_first(run):
    change(run, "metrics.json", lambda found: found.update(test={**found["validation"], "accuracy": 0.99}))
    found = page(run)
    assert "Test accuracy 99.0 %" in found.text
    assert "The test pictures had no part in that choice" in found.text
    assert "Validation accuracy" in found.text


def test_a_failed_certificate_is_told(run):
    (run / "certificate.json").write_text(json.dumps(certificate(passed=False)))
    found = page(run)
    assert "model_float32.tflite: failed" in found.text
    assert "A probability differs by 0.3" in found.text


def test_what_need_not_be_there_may_be_missing(run):
    for name in ("history.json", "certificate.json", "config.yaml"):
        (run / name).unlink()
    found = page(run)
    assert "Certificate" not in found.text
    assert "The pictures" not in found.text  # no scan.json
    assert [attrs["aria-label"] for tag, attrs in found.tags if tag == "svg"] == [
        "Reliability diagram: accuracy by confidence"
    ]


def test_many_classes_give_the_pairs_instead_of_the_matrix(run):
    names = [f"class {index}" for index in range(30)]
    report = report_from(np.eye(30, dtype="float32")[[5, 5, 7]], [4, 4, 7], names)
    write_predictions(run / "predictions.csv", report)
    (run / "labels.txt").write_text("\n".join(names))
    assert "What is confused most true taken for pictures class 4 class 5 2 of 2" in page(run).text


def block(name, state, rate=None):
    return {"name": name, "state": state, "learning_rate": rate}


BLOCKS = [
    [block("conv1", "frozen"), block("<i>b</i>", "frozen"), block("head", "trained", 1e-2)],
    [block("conv1", "frozen"), block("<i>b</i>", "fine-tuned", 1e-4), block("head", "trained", 1e-3)],
]


def test_a_strip_for_each_stage_tells_what_became_of_the_blocks(run):
    stages = [{**stage, "blocks": blocks} for stage, blocks in zip(STAGES, BLOCKS, strict=False)]
    change(run, "history.json", lambda found: found.update(stages=stages))
    found = page(run)
    drawn = [attrs for tag, attrs in found.tags if tag == "i" and "title" in attrs]
    assert [(one["class"], one["style"]) for one in drawn] == [
        # 1e-4, 1e-3 and 1e-2 are equally far apart: 30 %, 65 %, 100 % of the height; frozen is a thin line
        *(("frozen", "height: 14%"), ("frozen", "height: 14%"), ("trained", "height: 100%")),
        *(("frozen", "height: 14%"), ("fine-tuned", "height: 30%"), ("trained", "height: 65%")),
    ]
    assert drawn[4]["title"] == "<i>b</i>: fine-tuned at 0.0001"
    assert "conv1 to <i>b</i> (2 blocks) frozen, head trained new at 0.01" in found.text
    rows = "conv1 frozen frozen <i>b</i> frozen fine-tuned at 0.0001 head trained new at 0.01 trained new at 0.001"
    assert f"Every block blocks head <b>top</b> {rows}" in found.text


def test_one_stage_has_its_strip_too(run):
    change(run, "history.json", lambda found: found.update(stages=[{**STAGES[0], "blocks": BLOCKS[0]}]))
    found = page(run)
    assert "What was trained head 1 epoch conv1 to <i>b</i> (2 blocks) frozen, head trained new" in found.text


def test_what_was_solved_exactly_has_no_epochs_to_show(run):
    stage = {**STAGES[0], "schedule": "closed form", "learning_rate": None, "blocks": BLOCKS[0]}
    change(run, "history.json", lambda found: found.update(stages=[stage], epoch=[1], best_epoch=1))
    found = page(run)
    assert "Solved exactly on the frozen features in 1.3 seconds: there was no epoch to choose." in found.text
    assert "Validation chose" not in found.text
    assert "By epoch" not in found.text


def test_certificates_are_rows_with_the_columns_that_they_have(run):
    smaller = {"precision": "int8", "file": "model_int8.tflite", "bytes": 490_000, "max_difference": 0.08}
    smaller |= {
        "top1_agreement": 0.975,
        "least_agreement": 0.95,
        "tolerance": None,
        "accuracy_before": 0.925,
        "accuracy_after": 0.9,
    }
    smaller |= {"latency_ms": {"1": 4.56, "2": 2.5}}
    both = {"float32": certificate(), "int8": {**certificate(), **smaller}}
    (run / "certificate.json").write_text(json.dumps(both))
    found = page(run)
    head = "precision size largest difference same top class accuracy, Keras → file latency, 1 / 2 threads"
    float32 = "float32 ✓ 1.60 MB 2e-07 (at most 0.0001) 100 % – –"
    assert (
        f"{head} {float32} int8 ✓ 490.0 kB (31 %) 0.08 97.5 % (at least 95) 92.5 → 90.0 % 4.56 / 2.5 ms" in found.text
    )
    assert "model_float32.tflite, model_int8.tflite: passed . On 40 validation pictures each answers" in found.text
    (run / "certificate.json").write_text(json.dumps({"float32": certificate()}))
    assert "latency" not in page(run).text


def test_two_classes_have_auroc_sensitivity_and_specificity(run):
    assert "Yes or no" not in page(run).text
    positive = np.array([0.1, 0.6, 0.8, 0.4], "float32")
    report = report_from(np.stack([1 - positive, positive], 1), [0, 0, 1, 1], ["well", "ill"])
    write_predictions(run / "predictions.csv", report)
    (run / "labels.txt").write_text("well\nill\n")
    found = page(run)
    assert "Yes or no: ill is positive AUROC 0.750" in found.text
    assert "Sensitivity 0.500 of ill, the share that is found Specificity 0.500 of well" in found.text
    assert "What is confused most" not in found.text  # two classes: the matrix says it


def test_number_the_calibration_is_that_of_the_predictions(run):
    report = read_predictions(run / "predictions.csv")
    found = page(run)
    assert f"Expected calibration error {report.expected_calibration_error:.3f}" in found.text
    sure, right = 100 * report.confidence.mean(), 100 * report.accuracy
    assert (
        f"{sure:.1f} % sure on average, and right in {right:.1f} % : too sure by {sure - right:.1f} points"
        in found.text
    )
    bars = [attrs for tag, attrs in found.tags if tag == "rect" and attrs["class"] == "accuracy"]
    heights = [float(one["height"]) / 250 for one in bars]
    assert heights == pytest.approx([max(row.accuracy, 1 / 250) for row in report.reliability if row.count], abs=1e-3)


SCAN = {
    "format": 1, "folder": "photos", "files": 1234, "pictures": 1230, "seconds": 1.0,
    "classes": {"ant": {"train": 900, "test": 30}, "<b>bee</b>": {"train": 300}},
    "sizes": {"median": [30, 40], "smallest": [8, 9], "largest": [300, 400], "aspect": [0.5, 1.3, 2.0]},
    "findings": [
        {"kind": "alpha", "severity": "note", "text": "Two have alpha.", "files": [["a.png"]] * 9, "count": 9},
        {"kind": "truncated", "severity": "error", "text": "One is cut off.", "files": [], "count": 1},
        {"kind": "near", "severity": "warning", "text": "They are <alike>.", "files": [list("abcdef")], "count": 6},
    ],
}  # fmt: skip


def test_what_the_scan_found_stands_there_the_gravest_first(run):
    (run / "scan.json").write_text(json.dumps(SCAN))
    found = page(run)
    assert "The pictures 1,230 pictures in 1,234 files; median size 40 x 30, the smallest 9 x 8" in found.text
    order = [found.text.index(words) for words in ("One is cut off.", "They are <alike>.", "Two have alpha.")]
    assert order == sorted(order)
    assert "a = b = c = d and 2 more" in found.text
    assert "and 3 more" in found.text  # of nine groups six are shown
    assert "class train test ant 900 30 <b>bee</b> 300 0" in found.text
    (run / "scan.json").write_text(json.dumps({**SCAN, "findings": []}))
    assert "Nothing was found that would harm a training." in page(run).text


def test_another_scan_is_refused(run):
    (run / "scan.json").write_text(json.dumps({**SCAN, "format": 2}))
    with pytest.raises(ValueError, match=r"a scan of format 1\. Received: format=2"):
        write_report(run)
    (run / "scan.json").write_text(json.dumps({**SCAN, "findings": [{"severity": "fatal", "text": ""}]}))
    with pytest.raises(ValueError, match=r"an error, a warning or a note\. Received: fatal"):
        write_report(run)


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"has metrics.json, predictions.csv, labels.txt\. Received"):
        write_report(tmp_path)
    (run / "labels.txt").write_text("ant\nbee\nwasp\n")
    with pytest.raises(ValueError, match="name the same classes"):
        write_report(run)
    (run / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json must be whole JSON"):
        write_report(run)


def test_number_wilson():
    low, high = wilson(0.9, 100)  # the interval of 90 successes in 100, Brown, Cai & DasGupta 2001, (4)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)
    assert wilson(1.0, 10)[1] == 1.0
    assert wilson(0.0, 10)[0] == 0.0


@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 0.9), (0, 3), (0.7843, 0.7843), (-2, 5), (0, 0), (1e-6, 3e-6), (0.5, 431)]
)
def test_law_ticks_hold_the_values_between_them(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 7
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_charts_hold_one_epoch_and_gaps():
    assert whole_ticks(1, 1) == [1]
    assert whole_ticks(1, 20) == [1, 5, 9, 13, 17]
    one = chart("Loss", [1], {"training": [0.5]}, 1)
    assert len(one["lines"][0]["points"]) == 1
    gaps = chart("Loss", [1, 2, 3], {"training": [0.5, None, float("nan")], "validation": []})
    assert [len(line["points"]) for line in gaps["lines"]] == [1, 0]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?", label) for _, label in gaps["y"])
