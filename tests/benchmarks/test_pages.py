"""The tables in docs/results are those of the stored rows."""

from pathlib import Path

import pytest
from make_tables import PAGES, ROWS, TABLES, chosen
from results.pages import table, with_blocks
from results.table import Table

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training.model_digest import stored_weights_sha256
from tests.project import ROOT

PLACE = "before\n<!-- table: one; written by `make results` -->\nold\n<!-- end of table -->\nafter\n"


@pytest.mark.parametrize("each", PAGES, ids=lambda each: each.name)
def test_page_is_up_to_date(each: Table) -> None:
    """`make docs` writes it."""
    page = ROOT / "docs" / "results" / PAGES[each]
    assert with_blocks(page, each.blocks(each.file(ROWS).read())) == page.read_text()


@pytest.mark.parametrize("each", [each for each in PAGES if each.name != "published"], ids=lambda each: each.name)
def test_stored_rows_name_their_origin(each: Table) -> None:
    for row in each.file(ROWS).read().values():
        assert row["command"].startswith(("kedro run", "python benchmarks/"))
        assert row["date"].startswith("20")
        assert {"commit", "machine", "torch"} <= row.keys()


def test_published_figures_have_sources() -> None:
    (published,) = (each for each in PAGES if each.name == "published")
    assert all("http" in row["source"] and row["conditions"] for row in published.file(ROWS).read().values())


def test_table_replaces_what_its_place_has(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLACE)
    written = with_blocks(page, {"one": table(["a", "b"], [["1", "2"]])})
    assert written == PLACE.replace("old\n", "\n| a | b |\n|---|---|\n| 1 | 2 |\n\n")


def test_table_without_place_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLACE)
    with pytest.raises(GlowPipelineError, match="a page lacks <!-- table: two; written by `make results` -->"):
        with_blocks(page, {"two": ""})


def test_rows_alone_are_those_of_presets() -> None:
    assert [each.name for each in chosen([], ["mnist"])] == ["likelihood", "expected", "samples", "matrix"]
    assert chosen([], []) == list(TABLES.values())
    assert chosen(["settings"], ["K=16, seed 0"]) == [TABLES["settings"]]


def test_unknown_table_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match="setings: no such table; type some of likelihood, "):
        chosen(["setings"], [])


@pytest.mark.parametrize("name", ["samples", "matrix"])
def test_rows_are_of_the_shipped_models(name: str) -> None:
    """After a model was shipped: delete its line in docs/results/rows, and `make results`."""
    shipped = {path.parent.name: path for path in (ROOT / "models").glob("*/*_model.safetensors")}
    for preset, row in TABLES[name].file(ROWS).read().items():
        if preset in shipped:
            assert row["weights_sha256"] == stored_weights_sha256(shipped[preset]), f"{name}: {preset}"
