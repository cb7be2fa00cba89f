import inspect
from pathlib import Path

import pytest
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import HTMLPageDataset

PAGE = "<!DOCTYPE html>\n<title>grün</title>\n"


@pytest.fixture
def entry(tmp_path: Path) -> HTMLPageDataset:
    return HTMLPageDataset(filepath=str(tmp_path / "report.html"), version=Version(None, "v1"))


def test_page_is_stored_in_utf_8(entry: HTMLPageDataset, tmp_path: Path) -> None:
    assert not entry.exists()
    entry.save(PAGE)
    assert entry.exists()
    assert entry.load() == PAGE
    assert (tmp_path / "report.html" / "v1" / "report.html").read_bytes() == PAGE.encode()


def test_kedro_viz_previews_the_page(entry: HTMLPageDataset) -> None:
    entry.save(PAGE)
    assert entry.preview().split() == PAGE.split()
    assert inspect.signature(entry.preview).return_annotation.__name__ == "HTMLPreview"  # as kedro viz looks it up


def test_failed_page_leaves_no_file(entry: HTMLPageDataset) -> None:
    with pytest.raises(DatasetError):
        entry.save("\ud800")  # no UTF-8
    assert not entry.exists()
