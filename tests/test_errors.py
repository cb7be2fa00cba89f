"""The first line of an error, and the end of a run that is no error."""

import pytest

from glow_pipeline.errors import HelperFinished, first_line, stop_in


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("\n  one\ntwo"), "one"), (ValueError(), "ValueError"), (ValueError(" \n"), "ValueError")],
    ids=repr,
)
def test_first_line_is_never_empty(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_stop_is_found_below_another_error() -> None:
    wrapped = RuntimeError("Failed while loading")
    wrapped.__cause__ = HelperFinished()
    assert stop_in(wrapped) is wrapped.__cause__
    assert stop_in(RuntimeError("no stop")) is None
