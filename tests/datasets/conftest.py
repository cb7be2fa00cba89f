from pathlib import Path

import pytest

from glow_pipeline.images.table_writer import TableWriter, plan_table
from tests.conftest import MakeSource
from tests.datasets.tiny_tables import IMAGES_IN, SMALL


@pytest.fixture
def plan(make_source: MakeSource, tmp_path: Path) -> TableWriter:
    return plan_table(make_source(IMAGES_IN), "train", SMALL, tmp_path)
