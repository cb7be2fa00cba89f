"""The choice of tests that `make quick` runs."""

from types import ModuleType

import pytest

from tests.conftest import runs_pipelines
from tests.end_to_end import test_commands, test_selection
from tests.flow import helpers


def importing(value: object) -> ModuleType:
    """Return a module that has imported this."""
    module = ModuleType("tests.test_other")
    vars(module)["imported"] = value
    return module


def test_importing_a_runner_runs_pipelines() -> None:
    assert runs_pipelines(test_commands)
    assert runs_pipelines(test_selection)


def test_importing_from_such_a_test_runs_pipelines() -> None:
    assert runs_pipelines(importing(test_selection.refusal))


def test_other_modules_run_no_pipeline() -> None:
    assert not runs_pipelines(helpers)
    assert not runs_pipelines(importing(pytest.approx))
