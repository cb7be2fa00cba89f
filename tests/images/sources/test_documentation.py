from pathlib import Path

from glow_pipeline.images.sources.documentation import END, START, table, updated
from glow_pipeline.images.sources.registry import SOURCES

DATASETS = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_table_of_datasets_is_up_to_date() -> None:
    """`python -m glow_pipeline.images.sources.documentation .` writes it."""
    assert START in DATASETS
    assert updated(DATASETS) == DATASETS


def test_table_has_every_set_once() -> None:
    names = [line.split("`")[1] for line in table().splitlines()[2:]]
    assert names == [name for name in SOURCES if not name.endswith(("_64", "_128", "_224"))]


def test_old_table_is_replaced() -> None:
    assert updated(f"before\n{START}old\n{END}after\n") == f"before\n{START}{table()}{END}after\n"
