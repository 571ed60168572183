"""The page of a scan: every finding, its pictures inside, nothing from elsewhere, and no trust in file names."""

import base64
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import ImageData, scan_folder
from keras_transfer.data.kinds import KINDS
from keras_transfer.evaluate.scan_page import GROUPS, PICTURED, write_scan_page


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 60, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures a class, one of them twice, an empty file, and a name that is markup."""
    root = tmp_path / "photos"
    for k, label in enumerate("ab"):
        (root / label).mkdir(parents=True)
        for row in range(10):
            picture(100 * k + row).save(root / label / f"{row}.png")
    picture(0).save(root / "b" / "<img src=x>.png")
    (root / "a" / "zero.jpg").write_bytes(b"")
    return root


class Seen(HTMLParser):
    """Tags with their attributes, and what was opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def seen(page: Path) -> Seen:
    parser = Seen()
    parser.feed(page.read_text())
    assert parser.open == []
    return parser


def test_the_page_shows_findings_and_their_pictures(folder: Path) -> None:
    report = scan_folder(folder)
    page = write_scan_page(report, folder.parent / "scan.html")
    tags, text = seen(page).tags, page.read_text()
    assert all(one.text in text for one in report.findings)
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert [image["alt"] for image in images] == ["a/0.png", "b/<img src=x>.png"]
    content = base64.b64decode(str(images[0]["src"]).split(",", 1)[1])
    shown, wanted = Image.open(io.BytesIO(content)).convert("L"), picture(0).convert("L")
    assert np.abs(np.asarray(shown).astype(float) - wanted).mean() < 10  # JPEG of noise
    assert "<li>a/zero.jpg</li>" in text


def test_the_page_asks_nobody_for_anything(folder: Path) -> None:
    page = write_scan_page(scan_folder(folder), folder.parent / "scan.html")
    tags = seen(page).tags
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags}
    assert all(
        str(attributes["src"]).startswith("data:image/jpeg;base64,") for _, attributes in tags if "src" in attributes
    )
    assert not re.search(r"https?://|url\(|@import", page.read_text())
    assert any("viewport" in (attributes.get("name") or "") for tag, attributes in tags if tag == "meta")


def test_files_that_have_gone_are_told_by_name(folder: Path) -> None:
    report = scan_folder(folder)
    shutil.rmtree(folder)
    text = write_scan_page(report, folder.parent / "scan.html").read_text()
    assert text.count("not there") == 2
    assert "a/0.png" in text


def test_many_findings_are_shown_in_part(folder: Path) -> None:
    for row in range(GROUPS + 10):
        Image.new("RGB", (60, 60), (row, 0, 0)).save(folder / "a" / f"blank{row:02d}.png")
    text = write_scan_page(scan_folder(folder), folder.parent / "scan.html").read_text()
    blank = text[text.index('id="blank"') :].split("</section>")[0]
    assert blank.count("<img") == GROUPS
    assert "10 more by name" in blank


def test_a_clean_folder_and_arrays(folder: Path) -> None:
    (folder / "a" / "zero.jpg").unlink()
    (folder / "b" / "<img src=x>.png").unlink()
    assert "Nothing found wrong." in write_scan_page(scan_folder(folder), folder.parent / "a.html").read_text()
    x = np.stack([np.asarray(picture(i)) for i in range(24)])
    x[1] = x[0]
    data = ImageData.from_arrays(x, np.arange(24) // 12)
    shown: dict[str, np.ndarray] = {f"train[{i}]": x[i] for i in range(24)}
    look: Callable[[str], np.ndarray | None] = shown.get
    assert write_scan_page(data.scan, folder.parent / "b.html", look).read_text().count("<img") == 2


def test_every_kind_is_pictured_or_named() -> None:
    assert set(KINDS) >= PICTURED
    assert not PICTURED & {"empty_file", "truncated", "damaged", "bomb", "ignored", "uneven"}


def test_the_folder_here_is_called_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = write_scan_page(scan_folder("."), folder.parent / "scan.html").read_text()
    assert f"<title>Scan of {folder.name} ·" in text
    assert "<img" in text


@pytest.mark.browser
def test_it_fits_a_phone(folder: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = write_scan_page(scan_folder(folder), folder.parent / "scan.html")
    script = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
    page.write_text(re.sub("<meta http-equiv[^>]*>", "", page.read_text()).replace("</body>", script))
    phone = folder.parent / "phone.html"  # a headless window is no narrower than 500 pixels, a frame may be
    phone.write_text(
        "<script>onmessage = event => document.title = event.data</script>"
        f"<iframe width=360 height=800 style='border:0' src='{page.name}'></iframe>"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += [f"--user-data-dir={folder.parent / 'profile'}", "--dump-dom", "--virtual-time-budget=5000"]
    out = subprocess.run([*command, phone.as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout
    assert int(re.findall(r"<title>(\d+)</title>", out)[0]) <= 360
