import numpy as np
import pytest
import torch

from glow_pipeline.training.distributed.machines import RANK_VARIABLES
from tests.conftest import MakeTable, random_images
from tests.training.helpers import N_FIT, N_VAL, Tables


@pytest.fixture
def tables(make_table: MakeTable) -> Tables:
    """Images whose brightness rises from left to right: something to learn. Brighter the higher the class."""
    ramp = torch.arange(8) * 16 + 40 * (torch.arange(N_FIT + N_VAL) % 3)[:, None, None, None]
    table = make_table((ramp + random_images(N_FIT + N_VAL) // 16).to(torch.uint8), 4)
    return table.subset(np.arange(N_FIT)), table.subset(np.arange(N_FIT, N_FIT + N_VAL))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing says which machine this is, or where others are."""
    for name in (*RANK_VARIABLES, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch
