"""The engine `ray`: without Ray, with a cluster that does not answer, and on real clusters of one machine."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers import ray_cluster
from glow_pipeline.workers.engines import check_engine, finish
from glow_pipeline.workers.window import WorkerLostError
from tests.workers.squares import Squares


class FakeRay:
    """The functions of Ray that the engine uses, in this process."""

    class exceptions:  # noqa: N801  # as Ray has it
        class RayError(Exception): ...

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                super().__init__(cause)
                self.cause = cause

        class WorkerCrashedError(RayError): ...

    def __init__(self, result: object = None, nodes: list[dict[str, Any]] | None = None) -> None:
        self._result, self._nodes = result, nodes or []
        self.options: dict[str, Any] = {}

    def put(self, work: object) -> object:
        return work

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda run: SimpleNamespace(remote=lambda *arguments: arguments)

    def get(self, _: object) -> object:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@pytest.fixture
def ray() -> Iterator[Any]:
    """The real one, to which a test connects."""
    module = pytest.importorskip("ray")
    yield module
    module.shutdown()


def tasks(ray: Any, work: Squares) -> ray_cluster.RayTasks:
    return ray_cluster.RayTasks(ray, work)


def test_ray_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(GlowPipelineError, match=re.escape("pip install 'glow_pipeline[ray]'")):
        finish(Squares(tmp_path, 2), "ray")
    with pytest.raises(GlowPipelineError, match=r"workers\.engine=ray: Ray is not installed; pip install"):
        check_engine("ray", None)


def test_address_without_a_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(GlowPipelineError, match=r"RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers there"):
        finish(Squares(tmp_path, 2), "ray")


def test_nothing_is_started_where_no_part_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert finish(Squares(tmp_path, 0), "ray")


def test_task_takes_a_core_without_ray_retries(tmp_path: Path) -> None:
    ray = FakeRay()
    tasks(ray, Squares(tmp_path, 1))
    assert ray.options == {"num_cpus": 1, "num_gpus": 0, "max_retries": 0}


def test_gpu_gets_cores_that_every_node_has(tmp_path: Path) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 12.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": False, "Resources": {}},
    ]
    ray = FakeRay(nodes=nodes)
    tasks(ray, Squares(tmp_path, 1, uses_gpu=True))
    assert ray.options == {"num_cpus": 6, "num_gpus": 1, "max_retries": 0}


@pytest.mark.parametrize(
    ("result", "error", "line"),
    [
        ("part 1: is odd", GlowPipelineError, "part 1: is odd"),
        (FakeRay.exceptions.WorkerCrashedError("died"), WorkerLostError, "WorkerCrashedError: died"),
        (
            FakeRay.exceptions.RayTaskError(ModuleNotFoundError("No module named 'glow_pipeline'")),
            GlowPipelineError,
            "a worker has No module named 'glow_pipeline'; install the project on each node",
        ),
        (FakeRay.exceptions.RayTaskError(KeyError("x")), FakeRay.exceptions.RayTaskError, "x"),
    ],
    ids=["user", "lost", "not installed", "bug"],
)
def test_ends_of_tasks_are_told_apart(tmp_path: Path, result: object, error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=re.escape(line)):
        tasks(FakeRay(result), Squares(tmp_path, 1)).check(None)


@pytest.mark.slow
def test_local_cluster_computes_all(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    before = signal.getsignal(signal.SIGTERM)
    work = Squares(tmp_path, 12, killed=5)
    assert finish(work, "ray")
    assert [(tmp_path / str(part)).read_text() for part in range(12)] == [str(part * part) for part in range(12)]
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_two_nodes_survive_a_killed_worker(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        work = Squares(tmp_path, 20, seconds=0.5)
        killer = Thread(target=kill_a_worker, args=(tmp_path,))
        killer.start()
        assert finish(work, "ray")
        killer.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert [(tmp_path / str(part)).read_text() for part in range(20)] == [str(part * part) for part in range(20)]
    workers = {path.read_text().split()[0] for path in tmp_path.glob("*.by")}
    assert (tmp_path / "killed").read_text() in workers
    assert len(workers) == 3


def kill_a_worker(folder: Path) -> None:
    """Kill a process that computes a part, once it has stored one; its number is in the file `killed`."""
    while True:
        done = {int(path.read_text().split()[0]) for path in folder.glob("*.by") if path.read_text()}
        for pid in done:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::run_part"):
                os.kill(pid, signal.SIGKILL)
                (folder / "killed").write_text(str(pid))
                return
        time.sleep(0.05)
