"""One project with one trained model, for the tests of what happens around a run."""

from pathlib import Path

import pytest

from tests.project import TINY, copy_project, run


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model of digits at 16x16, a size that is no default."""
    project = copy_project(tmp_path_factory.mktemp("trained"))
    run(project, "train", ingest={"size": 16, "fit": "pad"}, **TINY)
    return project
