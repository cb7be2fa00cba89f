"""`make docs`: the site is complete, shows what the documents say, and needs no network.

What Chromium shows is tested in this file too, since the site is built once for each file: no error in its console,
nothing from elsewhere, a search that finds.
"""

import re
import runpy
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.browser import chromium
from tests.browser.chromium import Watched
from tests.docs.conftest import build
from tests.project import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
SHOWN = ["index.html", "mathematics.html", "architecture.html", "reference/scores.html"]
WRITTEN = [page for page in PAGES if page.parts[0] != "reference"]  # not from docstrings


def article(site: Path, page: Path) -> str:
    """Return the HTML of a page, without navigation."""
    html = (site / page.with_suffix(".html")).read_text()
    return html[html.index("<article") : html.index("</article>")]


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_page_has_blocks_of_the_document(site: Path, page: Path) -> None:
    """GitHub and the site read Markdown differently: nested blocks are indented by four spaces for both."""
    kinds = {"table_open": "table", "list_item_open": "li", "bullet_list_open": "ul", "ordered_list_open": "ol"}
    tokens = MarkdownIt("commonmark").enable("table").parse((DOCS / page).read_text())
    expected = Counter(kinds[token.type] for token in tokens if token.type in kinds)
    code = [token for token in tokens if token.type in ("fence", "code_block")]
    expected["pre"] = sum(token.info != "math" for token in code)
    html = article(site, page)
    assert {tag: len(re.findall(f"<{tag}[ >]", html)) for tag in ("table", "li", "ul", "ol", "pre")} == {
        tag: expected[tag] for tag in ("table", "li", "ul", "ol", "pre")
    }
    assert html.count('<div class="formula">') == len(code) - expected["pre"]


def test_navigation_has_each_page_once() -> None:
    named = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(named) == [str(page) for page in PAGES]


def test_no_formula_is_left_as_latex(site: Path) -> None:
    html = article(site, Path("mathematics.md"))
    assert html.count("<svg role") > 50
    assert "arithmatex" not in html
    assert "$" not in re.sub(r"<(code|svg).*?</\1>", "", html, flags=re.DOTALL)


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = {
        address
        for page in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*>", page.read_text())
        for address in re.findall(r'(?:src|href)="((?:https?:)?//[^"]*)"', tag)
    }
    styles = {
        address for css in site.rglob("*.css") for address in re.findall(r"url\(['\"]?(https?:[^)]*)", css.read_text())
    }
    assert loaded | styles == set()


def test_links_to_code_lead_to_pages_with_it(site: Path) -> None:
    assert 'href="source/src/glow_pipeline/flow/actnorm.py.html"' in article(site, Path("mathematics.md"))
    assert "class" in article(site, Path("source/src/glow_pipeline/flow/actnorm.py.md"))
    assert 'href="../training.html"' in article(site, Path("source/data.md"))


@pytest.mark.parametrize(
    ("links", "built"),
    [(["index.md#start"], True), (["absent.md"], False), (["index.md#absent"], False), (["../src/absent.py"], False)],
    ids=["right", "page", "anchor", "code"],
)
def test_broken_link_fails_the_build(tmp_path: Path, links: list[str], built: bool) -> None:
    shutil.copytree(DOCS / "hooks", tmp_path / "docs" / "hooks")
    config = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"  - mkdocstrings:.*?\n(?=\S)", "\n", config, flags=re.DOTALL))
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n" + "".join(f"[a link]({link})\n" for link in links))
    done = build(tmp_path, tmp_path / "site")
    assert (done.returncode == 0) == built
    assert built or links[0].removeprefix("../") in done.stdout + done.stderr


def test_picture_of_the_architecture_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "hooks" / "architecture.py"))
    assert (ROOT / script["PICTURE"]).read_text() == script["picture"](ROOT)


# In Chromium, where there is one ----------------------------------------------------------------


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


@pytest.mark.parametrize("name", SHOWN)
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
