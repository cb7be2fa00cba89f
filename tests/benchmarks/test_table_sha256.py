from pathlib import Path

import numpy as np
from table_sha256 import table_sha256

from glow_pipeline.images.ingest_parts import IngestParts
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_commit import commit
from glow_pipeline.images.table_files import LABELS
from glow_pipeline.stores import FolderStore
from glow_pipeline.workers.processes import compute
from tests.images.plans import in_memory


def test_table_digest_depends_on_content_alone(tmp_path: Path) -> None:
    plan = in_memory(10, range(1, 10), "skip").plan
    plan.write(tmp_path / "alone")
    work = IngestParts(plan, FolderStore(tmp_path / "parts"), 4)
    compute(work, work.missing())
    commit(work, tmp_path / "table")
    digest = table_sha256(ImageTable(tmp_path / "alone"))
    assert table_sha256(ImageTable(tmp_path / "table")) == digest
    labels = np.load(tmp_path / "alone" / LABELS)
    np.save(tmp_path / "alone" / LABELS, labels[::-1].copy())
    assert table_sha256(ImageTable(tmp_path / "alone")) != digest
