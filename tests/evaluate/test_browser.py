"""`report.html` in headless Chromium: nothing on the console, nothing asked of the network, and it fits a phone."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from keras_transfer.evaluate import report_from, write_predictions, write_report

pytestmark = pytest.mark.browser
NAMES = ["ants", "a_class_with_a_very_long_name_and_without_a_single_blank_in_it", "bees"]


def _driver():
    spec = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = _driver()
    program = driver.find_chromium()
    if program is None:
        pytest.skip("no Chromium here (on the path, or where KERAS_TRANSFER_CHROMIUM says)")
    browser = driver.Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def block(number, rate):
    return {"name": f"block_{number}_of_a_backbone", "state": "fine-tuned" if rate else "frozen", "learning_rate": rate}


def write_run(folder, names):
    """A run with every section, and with names and paths that are long."""
    random, count = np.random.default_rng(0), 60
    targets = random.integers(0, len(names), count)
    files = [f"test/{names[target]}/{index}_{'photograph' * 8}.jpg" for index, target in enumerate(targets)]
    report = report_from(random.dirichlet(np.ones(len(names)), count), targets, names, files, "test")
    write_predictions(folder / "predictions.csv", report)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "config.yaml").write_text(f"backbone: mobilenet_v2\nweights: /{'a_long_folder/' * 12}w.h5\n")
    told = {"epochs": 2, "learning_rate": 1e-3, "schedule": "one_cycle", "trainable": 1_234_567, "seconds": 12.3}
    stages = [
        {"name": f"stage {number} of four", "first_epoch": 2 * number + 1, **told, "blocks": [
            *(block(index, 0.9 ** (60 - index) * 1e-3 if index >= 60 - 20 * number else None) for index in range(60)),
            {"name": "head", "state": "trained", "learning_rate": 1e-3},
        ]}
        for number in range(4)
    ]  # fmt: skip
    curve = list(np.linspace(1, 0.2, 8))
    certificate = {
        "precision": "int8", "file": "model_int8.tflite", "passed": True, "reason": None, "pictures": 60, "split": "test",
        "max_difference": 0.08, "tolerance": None, "top1_agreement": 0.98, "ties": 1, "bytes": 2_700_000,
        "sha256": "ab" * 32, "image_size": [224, 224], "resize": "squash", "accuracy_before": 0.91,
        "accuracy_after": 0.9, "latency_ms": {"1": 21.3, "2": 12.2},
    }  # fmt: skip
    finding = {"kind": "near", "severity": "warning", "text": f"{files[0]} is nearly {files[1]}.", "files": [files[:2]]}
    scan = {
        "format": 1, "files": 60, "pictures": 60, "classes": {name: {"train": 40, "validation": 9} for name in names},
        "sizes": {"median": [300, 400], "smallest": [30, 40], "largest": [3000, 4000]}, "findings": [finding] * 3,
    }  # fmt: skip
    figures = report.to_dict()
    content = {
        "metrics.json": {"validation": figures, "test": figures, "last_epoch": {"epoch": 8, "accuracy": 0.9}},
        "history.json": {"epoch": list(range(1, 9)), "loss": curve, "val_loss": curve, "accuracy": curve, "stages": stages},
        "certificate.json": {name: {**certificate, "precision": name} for name in ("float32", "float16", "int8")},
        "scan.json": scan,
    }  # fmt: skip
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value))
    pictures = random.integers(0, 255, (count, 80, 100, 3), dtype="uint8")
    return write_report(folder, samples=lambda index: pictures[index])


@pytest.fixture(scope="module", params=[NAMES, NAMES[:2], [f"class {index}" for index in range(12)]], ids=len)
def page(request, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), request.param)


# The furthest right that anything reaches which is not in a part that scrolls by itself.
FURTHEST = """Math.max(...[...document.querySelectorAll("main *")]
    .filter(one => !one.closest(".scroll") && !one.closest("svg")).map(one => one.getBoundingClientRect().right))"""
CONTRAST = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgb = (colour, under) => {
        canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = one => {
        const above = one.parentElement ? behind(one.parentElement) : "rgb(255, 255, 255)";
        return `rgb(${rgb(getComputedStyle(one).backgroundColor, above).join()})`;
    };
    let least = 21, where = "";
    for (const one of document.querySelectorAll("main *")) {
        const text = [...one.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
        if (!text || one.closest("svg") || one.closest(".zero")) continue;
        const paper = behind(one), ink = `rgb(${rgb(getComputedStyle(one).color, paper).join()})`;
        const [a, b] = [light(rgb(ink, paper)), light(rgb(paper, paper))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < least) { least = ratio; where = one.className + " " + one.textContent.slice(0, 40); }
    }
    return [least, where];
})()"""


def test_it_asks_for_nothing_and_says_nothing(browser, page):
    browser.open(page)
    assert browser.problems == []
    assert browser.requests == [page.resolve().as_uri()]
    assert browser.value("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert browser.value("document.images.length") == 12
    assert browser.value("document.querySelectorAll('section').length") >= 7


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_the_width(browser, page, width):
    browser.open(page, width)
    browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(FURTHEST) <= width


def test_light_and_dark_can_be_read(browser, page):
    papers = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        papers.append(browser.value("getComputedStyle(document.body).backgroundColor"))
        least, where = browser.value(CONTRAST)
        assert least >= 4.5, where  # WCAG 2.2, level AA
    assert papers == ["rgb(246, 247, 249)", "rgb(15, 19, 24)"]


def test_the_driver_sees_what_a_page_does_wrong(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<meta name="viewport" content="width=device-width"><img src="missing.png"><div style="width:500px">x</div>'
        "<script>console.error('no')</script>"
    )
    browser.open(bad, 360)
    assert any("no" in one for one in browser.problems)
    assert any(address.endswith("missing.png") for address in browser.requests)
    assert browser.value("document.documentElement.scrollWidth") > 360
