"""Errors that the user can fix."""

from pathlib import Path

import click
import pytest
from kedro.io import DatasetError

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.one_line import errors_in_one_line, line_of


def test_cause_of_a_dataset_error_is_one_line(tmp_path: Path) -> None:
    error = DatasetError("test_images")
    error.__cause__ = PermissionError(13, "Permission denied", str(tmp_path))
    line = line_of(error)
    assert line is not None
    assert line.startswith(f"{tmp_path}: belongs to ")


def test_error_that_nobody_can_fix_has_no_line() -> None:
    assert line_of(ValueError("no such luck")) is None
    with pytest.raises(PermissionError), errors_in_one_line():
        raise PermissionError("of no file")


def test_error_is_raised_as_clicks_own() -> None:
    with pytest.raises(click.ClickException) as raised, errors_in_one_line():
        raise GlowPipelineError("a=1: wrong")
    assert raised.value.message == "a=1: wrong"


def test_exit_code_of_a_click_error_is_kept() -> None:
    class OtherCodeError(GlowPipelineError, click.ClickException):
        exit_code = 2

    with pytest.raises(OtherCodeError), errors_in_one_line():
        raise OtherCodeError("a=1: wrong")
