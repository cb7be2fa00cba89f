"""A browser for each test of pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.browser.chromium import Watched


@pytest.fixture
def browser(screenshots: Path) -> Iterator[Watched]:
    yield from chromium.opened_or_skipped(screenshots)
