import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from glow_pipeline.flow.fast import execution
from glow_pipeline.training.shipped_models import CHECKSUMS, SHIPPED
from tests.conftest import MakeTable, random_images
from tests.project import ROOT
from tests.training.helpers import N_FIT, N_VAL, Tables


@pytest.fixture
def tables(make_table: MakeTable) -> Tables:
    """Images whose brightness rises from left to right: something to learn. Brighter the higher the class."""
    ramp = torch.arange(8) * 16 + 40 * (torch.arange(N_FIT + N_VAL) % 3)[:, None, None, None]
    table = make_table((ramp + random_images(N_FIT + N_VAL) // 16).to(torch.uint8), 4)
    return table.subset(np.arange(N_FIT)), table.subset(np.arange(N_FIT, N_FIT + N_VAL))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the shipped model of digits, in which the working directory is."""
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(ROOT / SHIPPED / "digits", tmp_path / SHIPPED / "digits")
    listed = (ROOT / SHIPPED / CHECKSUMS).read_text().splitlines(keepends=True)
    (tmp_path / SHIPPED / CHECKSUMS).write_text("".join(line for line in listed if "  digits/" in line))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def own_compilations() -> Iterator[None]:
    """Forget after a test the compilations of it, and those that failed."""
    execution._compiled.cache_clear()
    torch._dynamo.reset()
    yield
    execution._compiled.cache_clear()
    torch._dynamo.reset()
