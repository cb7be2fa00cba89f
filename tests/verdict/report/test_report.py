import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glow_pipeline.verdict import columns
from glow_pipeline.verdict.report import report as report_module
from glow_pipeline.verdict.report.report import MOST_ROWS
from glow_pipeline.verdict.worth import lines_of_worth
from tests.verdict.report.reports import SCORE, report, shown, table

VOID = ("meta", "img", "br", "link", "input", "hr")
PNG = "data:image/png;base64,"


@dataclass
class Page(HTMLParser):
    """What a page says: tags with their attributes, the text, the rows of its tables; checks that tags are closed."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, html: str) -> "Page":
        page = cls()
        super(Page, page).__init__()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def test_verdict_and_doubts_come_first() -> None:
    made = report(table([1.99, 0.5, 0.2], [("/scans/b.png", "empty file")]))
    doubted = made.worth.model_copy(update={"warnings": ["few images", "many copies"]})
    words = Page.of(report(made.scored, worth=doubted).html()).words
    for line in [*lines_of_worth(made.worth), *doubted.warnings]:
        assert line in words
        assert words.index(line) < words.index("All files")


def test_notes_say_how_files_were_read() -> None:
    scored = table([1.99, 0.5])
    assert "were read: 2 <images>; 1 hidden." in Page.of(report(scored, notes=["2 <images>", "1 hidden"]).html()).words
    assert "were read" not in Page.of(report(scored).html()).words


def test_table_has_the_figures_of_the_scored_files() -> None:
    scored = table([1.99, 1.95, 0.123456, 0.2])
    rows = [row for row in Page.of(report(scored).html()).rows if row[0].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    for row, (_, file) in zip(rows, scored.iterrows(), strict=True):
        is_outlier = file[columns.VERDICT] == columns.OUTLIER
        reason = f"{file[columns.REASON].capitalize()}." if is_outlier else ""
        assert f"/scans/{row[1]}" == f"{file[columns.FILE]}{reason}"
        assert row[2] == file[columns.VERDICT]
        assert float(row[3]) == pytest.approx(file[columns.P_VALUE], abs=5e-5)
        assert float(row[4]) == pytest.approx(file[SCORE.column], rel=5e-4)
        assert bool(row[5]) == file[columns.BH]


def test_cards_have_image_heat_map_and_nearest_images() -> None:
    page = Page.of(report(table([1.99, 0.5]), shown([0, 1])).html())
    pictures = [attributes for attributes in page.all("img") if attributes.get("class") == "pixels"]
    assert len(pictures) == 2 * (1 + 1 + 3)
    image, heat_map = (Image.open(io.BytesIO(base64.b64decode(p["src"].removeprefix(PNG)))) for p in pictures[5:7])
    assert np.array_equal(np.asarray(image), np.full((8, 8), 17))  # the level 1 of 0 to 15
    assert heat_map.size == (8, 8)
    assert "25.0% above 99%" in page.words  # 16 of 64


def test_images_without_explanations_have_no_heat_map() -> None:
    page = Page.of(report(table([1.99, 0.5]), shown([0], explained=False)).html())
    assert len([attributes for attributes in page.all("img") if attributes.get("class") == "pixels"]) == 1
    assert "Heat map" not in page.words


def test_long_lists_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MOST_ROWS", 3)
    unreadable = [(f"/scans/b{i}.png", "damaged") for i in range(5)]
    page = Page.of(report(table(np.linspace(0, 1.9, 7).tolist(), unreadable)).html())
    assert [row[0] for row in page.rows if row[0].isdigit()] == ["1", "2", "3"]
    assert [row for row in page.rows if row[-1] == "damaged"] == [[f"b{i}.png", "damaged"] for i in range(3)]
    assert "The first 3 of 7 files; all are in scored_files.csv" in page.words
    assert "The first 3 of 5; all are in scored_files.csv" in page.words
    assert MOST_ROWS == 500


def test_list_without_a_readable_file_has_a_report() -> None:
    made = report(table([], [("/scans/b.png", "empty file")]))
    page = Page.of(made.html())
    assert "No file could be read." in page.words
    assert page.rows[1] == ["b.png", "empty file"]
    made.contact_sheet().draw_without_rendering()


def test_page_needs_no_network_and_no_script() -> None:
    page = Page.of(report(table([1.99, 0.5]), shown([0, 1])).html())
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "base"} == set()
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", PNG)), (tag, name)
    assert "url(" not in report(table([1.0])).html()
    assert {"content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}.items() <= {
        key: value for meta in page.all("meta") for key, value in meta.items() if key == "content" and "src" in value
    }.items()


def test_pictures_have_texts_and_tables_have_headers() -> None:
    page = Page.of(report(table([1.99, 0.5], [("/b.png", "damaged")]), shown([0, 1])).html())
    assert all(image["alt"] for image in page.all("img"))
    assert len({image["alt"] for image in page.all("img")}) == len(page.all("img"))
    assert all("scope" in header for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}


def test_equal_reports_have_equal_pages() -> None:
    pages = {report(table([1.99, 0.5]), shown([0, 1])).html() for _ in range(2)}
    assert len(pages) == 1


HOSTILE = [
    "<script>alert(1)</script>.png",
    "\"><img src=x onerror='a()'>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "two\nlines\r.png",
    "\u202egnp.exe",
    "שלום.png",
    "&lt;amp; #=+,[]*.png",
]


def test_names_and_reasons_are_text_wherever_they_stand() -> None:
    check_texts(HOSTILE, lambda names: (names, []))


@given(st.text(st.characters(exclude_characters="/\x00"), min_size=1, max_size=30).filter(lambda t: t.strip(" .")))
def test_any_name_of_an_unreadable_file_is_text(name: str) -> None:
    check_texts([name], lambda names: ([], names))


def check_texts(names: list[str], sides: Callable[[list[str]], tuple[list[str], list[str]]]) -> None:
    """Check that names change the texts of a page only; `sides` divides them into readable and unreadable files."""

    def page(names: list[str]) -> Page:
        readable, unreadable = sides(names)
        scored = table(
            np.linspace(1, 2, len(readable)).tolist(),
            [(f"/scans/{i}/{name}", name) for i, name in enumerate(unreadable)],
        )
        if readable:
            scored[columns.FILE] = [f"/scans/{i}/{name}" for i, name in enumerate(readable)]
            scored[columns.REASON] = scored[columns.COPY_OF] = readable
        return Page.of(report(scored, shown(range(len(readable))), images=names[0]).html())

    plain, hostile = page([f"x{i}" for i in range(len(names))]), page(names)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [list(attributes) for _, attributes in hostile.tags] == [list(attributes) for _, attributes in plain.tags]
    assert all(character.isprintable() or character.isspace() for character in hostile.text)


def test_model_card_names_data_training_and_detector() -> None:
    words = Page.of(report(table([1.0])).html()).words
    for fact in ("tiny", "8 x 8 pixels, grey, 4 bits", "1.250", "2 epochs, 10 steps", "ab12", "png 13", "nll"):
        assert fact in words
    assert "kedro run --pipelines score" in words
    assert "26 November 2026, 23:40 UTC" in words
