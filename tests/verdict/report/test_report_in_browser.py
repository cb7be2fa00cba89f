"""The report as Chromium shows and prints it, where there is one."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.verdict.report.reports import report, shown, table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RED = (179, 38, 30)  # of the mark of an outlier

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture(scope="module")
def page() -> str:
    long = "a_folder_with_a_very_long_name_that_has_no_place_to_break/" * 3
    scored = table([1.99, *np.linspace(0, 1.9, 30)], [(f"/{long}b.png", "damaged")])
    return report(scored, shown(range(6))).html()


def chromium(folder: Path, address: str, *options: str) -> str:
    """Run Chromium without a window and return what it prints; it starts anew, with its profile in `folder`."""
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    done = subprocess.run(
        [*command, f"--user-data-dir={folder}/profile", *options, address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_page_fits_telephone_and_screen(page: str, tmp_path: Path) -> None:
    widths = (360, 400, 768, 1280)
    frames = "".join(f'<iframe srcdoc="{html.escape(page)}" style="border:0;width:{w}px"></iframe>' for w in widths)
    script = (
        "for (const f of document.querySelectorAll('iframe')) f.title = f.contentDocument.documentElement.scrollWidth"
    )
    (tmp_path / "frames.html").write_text(f'<body onload="{script}">{frames}', encoding="utf-8")
    shown = chromium(tmp_path, f"file://{tmp_path}/frames.html", "--dump-dom")
    assert [int(width) for width in re.findall(r'title="(\d+)"', shown)] == list(widths)


def test_page_shows_marks_and_heat_maps(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    picture = tmp_path / "report.png"
    chromium(tmp_path, f"file://{tmp_path}/report.html", f"--screenshot={picture}", "--window-size=1280,2000")
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert (pixels == RED).all(axis=1).sum() > 500
    assert (pixels == (255, 255, 255)).all(axis=1).mean() > 0.3  # dark on light
    legend = (pixels[:, 0] > 240) & (pixels[:, 2] < 60)  # orange is in heat maps alone
    assert legend.sum() > 500


def test_page_prints_on_several_sheets(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    printed = tmp_path / "report.pdf"
    chromium(tmp_path, f"file://{tmp_path}/report.html", f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 8
