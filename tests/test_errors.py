"""The first line of an error."""

import pytest

from glow_pipeline.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("\n  one\ntwo"), "one"), (ValueError(), "ValueError"), (ValueError(" \n"), "ValueError")],
    ids=repr,
)
def test_first_line_is_never_empty(error: Exception, line: str) -> None:
    assert first_line(error) == line
