import pytest

from glow_pipeline.verdict.report.facts import date_of, p_value, worth_facts
from glow_pipeline.verdict.report.rows import common_folder, name_below
from glow_pipeline.verdict.sentences import percent
from tests.verdict.report.reports import report, table


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, "1.0000"), (0.0019, "0.0019"), (0.00051, "0.0005"), (1 / 3001, "0.00033"), (1e-6, "1e-06")]
)
def test_p_values_are_never_shown_as_zero(p: float, text: str) -> None:
    assert p_value(p) == text


def test_dates_are_those_of_versions() -> None:
    assert date_of("2026-11-06T03.04.05.678Z") == "6 November 2026, 03:04 UTC"
    assert date_of("my version") == "my version"


def test_worth_has_every_figure_with_a_meaning() -> None:
    worth = report(table([1.99, 0.5])).worth
    facts = worth_facts(worth)
    shown = " ".join(f"{fact.value} {fact.note}" for fact in facts)
    figures = (worth.n_calibration, worth.bh_fewest, worth.at_least_outliers)
    assert all(f"{figure:,}" in shown for figure in figures)
    for rate in (worth.false_alarm_rate, worth.false_alarm_bound, worth.false_discovery_rate):
        assert percent(rate) in shown
    assert p_value(worth.smallest_p) in shown
    assert all(fact.note for fact in facts)
    without = worth_facts(worth.model_copy(update={"folder_p_value": None}))
    assert len(without) == len(facts) - 1
    enough = worth_facts(worth.model_copy(update={"bh_fewest": 1}))
    assert not any("together" in fact.note for fact in enough)


def test_list_without_score_has_no_list_facts() -> None:
    worth = report(table([], [("/scans/b.png", "damaged")])).worth
    assert [fact.term for fact in worth_facts(worth)][-1] == "Smallest possible p-value"


def test_files_are_named_below_their_common_folder() -> None:
    assert common_folder(["/a/b/x.png", "/a/c/y.png"]) == "/a"
    assert common_folder(["/a/b/x.png"]) == "/a/b"
    assert name_below("/a", "/a/b/x\n.png") == "b/x\\n.png"
    assert common_folder([]) == ""
    assert name_below("", "/a/x.png") == "/a/x.png"
