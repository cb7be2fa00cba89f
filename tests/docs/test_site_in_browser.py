"""The site in Chromium, where there is one: no error in its console, nothing from elsewhere, a search that finds."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.browser.chromium import Watched

PAGES = ["index.html", "mathematics.html", "architecture.html", "reference/scores.html"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(screenshots: Path) -> Iterator[Watched]:
    """One page for all tests of this file, whose addresses are all of one site."""
    yield from chromium.opened_or_skipped(screenshots)


def check(browser: Watched, address: str, name: str) -> None:
    browser.page.goto(f"{address}/{name}")
    assert browser.errors == []
    assert browser.left_machine == []
    broken = "[...document.images].filter(image => !image.complete || image.naturalWidth == 0).map(image => image.src)"
    assert browser.page.evaluate(broken) == []


@pytest.mark.parametrize("name", PAGES)
def test_page_has_no_error_and_loads_nothing_else(browser: Watched, address: str, name: str) -> None:
    check(browser, address, name)
    browser.screenshot(f"site_{Path(name).stem}")


@pytest.mark.slow
def test_all_pages_have_no_error(browser: Watched, address: str, site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        check(browser, address, str(path.relative_to(site)))


def test_search_finds_the_mathematics(browser: Watched, address: str) -> None:
    page = browser.page
    page.goto(f"{address}/index.html")
    page.get_by_placeholder("Search").click()
    page.keyboard.type("actnorm")
    page.locator(".md-search-result__link[href*='mathematics']").first.wait_for()
    assert browser.errors == []
