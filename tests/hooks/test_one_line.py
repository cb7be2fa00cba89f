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


def test_operation_missing_on_mps_is_one_line() -> None:
    """The device is pretended: these are torch's own messages."""
    operation = NotImplementedError(
        "The operator 'aten::lgamma' is not currently implemented for the MPS device. If you want this op to be "
        "considered for addition please comment on an issue.\nAs a temporary fix, you can set a variable."
    )
    dtype = TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    assert line_of(operation) == (
        "device=mps: torch has no aten::lgamma there; set device=cpu, or have the CPU compute it by the environment "
        "variable PYTORCH_ENABLE_MPS_FALLBACK=1"
    )
    assert line_of(dtype) == f"device=mps: {dtype}; set device=cpu"
    assert line_of(NotImplementedError("of a class of one's own")) is None


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
