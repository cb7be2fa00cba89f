import pytest

from glow_pipeline.verdict.sentences import files_are, listed, p_is, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.01, "1%"), (0.0152, "1.52%"), (0.123456, "12.3%"), (1.0, "100%"), (0.0, "0%"), (2e-5, "0.002%")],
)
def test_percentages_have_three_digits(share: float, text: str) -> None:
    assert percent(share) == text


def test_verbs_agree_with_their_number() -> None:
    assert [files_are(1, 1200), files_are(3, 1200)] == ["1 of 1,200 files is", "3 of 1,200 files are"]


def test_long_lists_end_in_dots() -> None:
    assert listed(["PNG", "JPEG"]) == "PNG, JPEG"
    assert listed("abcdef", at_most=3) == "a, b, c, ..."


@pytest.mark.parametrize(("p", "text"), [(0.5634, "p = 0.56"), (1.0, "p = 1"), (9.9e-324, "p < 1e-15")])
def test_p_values_have_the_digits_that_mean_something(p: float, text: str) -> None:
    assert p_is(p) == text
