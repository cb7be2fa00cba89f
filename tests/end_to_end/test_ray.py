"""An ingest on a Ray cluster of two nodes, one of whose workers is killed, by the real commands."""

import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from glow_pipeline.images.table import ImageTable
from tests import proc
from tests.benchmarks.tables import table_sha256
from tests.images.pictures import noise
from tests.project import copy_project, kedro

pytestmark = [pytest.mark.slow, proc.on_linux]
N = 2000
SETTINGS = {"RAY_worker_niceness": "0", "TEST_CLUSTER": uuid.uuid4().hex}  # not to wait for others; for its workers


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of noise in two classes, and a file that is none."""
    for i in range(N):
        file = tmp_path / "pictures" / f"class{i % 2}" / f"{i:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(128, 128, seed=i)).save(file)  # a part takes a second
    (tmp_path / "pictures" / "class1" / "broken.png").touch()
    return tmp_path / "pictures"


def kill_a_worker(project: Path, stored: str, killed: list[int]) -> None:
    """Kill a worker of Ray that computes a part, when something is stored already."""
    while not list((project / "data").glob(stored)):
        time.sleep(0.05)
    while not killed:
        for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
            try:
                title, settings = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            except OSError:
                continue
            if title.startswith(b"ray::run_part") and SETTINGS["TEST_CLUSTER"].encode() in settings:
                os.kill(int(pid), signal.SIGKILL)
                killed.append(int(pid))
                return
        time.sleep(0.02)


def run(project: Path, pipeline: str, params: str, stored: str = "") -> str:
    """Run a command, and kill a worker meanwhile if it is to be one of Ray; return what it printed."""
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(project, stored, killed), daemon=True)
    if stored:
        killer.start()
    ended = kedro(project, "run", "--pipelines", pipeline, "--params", params)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if stored:
        assert killed
    return ended.stdout + ended.stderr


def test_two_nodes_make_the_table_of_one_process(
    tmp_path: Path, pictures: Path, two_nodes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    params = f"dataset=folder,ingest.path={pictures},ingest.size=8,ingest.on_unreadable=skip,model.L=2"
    project = copy_project(tmp_path / "project")
    made, digests = project / "data" / "03_primary" / "folder_pictures", []
    for more, stored in ((",workers.engine=ray,workers.part_images=300", "03_primary/**/.parts-*/*.json"), ("", "")):
        printed = run(project, "ingest", params + more, stored)
        assert ("a worker was lost, and its part was computed again" in printed) == bool(stored)
        tables = [ImageTable(path.parent) for path in sorted(made.glob("**/record.json"))]
        digests.append([(len(table), table_sha256(table)) for table in tables])
        shutil.rmtree(made)
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]
