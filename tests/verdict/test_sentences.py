import pytest

from glow_pipeline.verdict.sentences import files_are, listed, percent


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
