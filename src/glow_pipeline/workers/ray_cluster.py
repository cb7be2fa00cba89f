"""The engine `ray`: each part is a task of a Ray cluster, which places it on a core or a GPU of some node.

The command is typed once. A cluster that `RAY_ADDRESS` names or that runs on this machine is joined; else one of this
machine's cores alone is started, which listens on the loopback interface, and ended. On each node the project has to be
installed as here, and the data to be found under the same path.
"""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.threads import usable_cores
from glow_pipeline.workers.part_work import PartWork, Seat
from glow_pipeline.workers.window import WorkerLostError, compute_in_window

ANSWER_SECONDS = 5.0  # within which a cluster answers; Ray itself waits for minutes
OBJECT_STORE = 2**27  # bytes of shared memory of a cluster that is started here; only the work itself is kept there
INSTALL = "pip install 'glow_pipeline[ray]', or set workers.engine to processes or array"


def compute_on_ray(work: PartWork, parts: Sequence[int]) -> None:
    """Compute these parts on a Ray cluster.

    Raises:
        GlowPipelineError: Ray is not installed, the cluster does not answer, or a part raised one.
    """
    compute_in_window(work, parts, RayTasks(connected_ray(), work))


class RayTasks:
    """The parts of a work as Ray tasks: one core each, or one GPU with its share of the node's cores.

    Args:
        ray: the module, connected to a cluster.
        work: is sent to each worker once.
    """

    def __init__(self, ray: ModuleType, work: PartWork) -> None:
        self._ray, self._gpus = ray, int(work.uses_gpu)
        self._work = ray.put(work)
        cores = _cores_beside_a_gpu(ray.nodes()) if work.uses_gpu else 1
        # Ray's own retries are off, since it does not say how many there were.
        options = ray.remote(num_cpus=cores, num_gpus=self._gpus, max_retries=0)
        self._run, self._cores = options(run_part), cores

    def slots(self) -> int:
        return int(self._ray.cluster_resources().get("GPU" if self._gpus else "CPU", 0))

    def submit(self, part: int) -> Any:
        return self._run.remote([self._work], part, self._cores)  # in a list: else Ray would unpickle it for each task

    def finished(self, tasks: Sequence[Any]) -> Sequence[Any]:
        done, waiting = self._ray.wait(list(tasks))
        return [*done, *self._ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]] if waiting else done

    def check(self, task: Any) -> None:
        exceptions = self._ray.exceptions
        try:
            error = self._ray.get(task)
        except exceptions.RayTaskError as problem:
            if isinstance(problem.cause, ModuleNotFoundError):
                raise GlowPipelineError(
                    f"workers.engine=ray: a worker has {first_line(problem.cause)}; install the project on each node "
                    f"of the cluster as it is here"
                ) from problem
            raise
        except exceptions.RayError as problem:
            raise WorkerLostError(f"{type(problem).__name__}: {first_line(problem)}") from problem
        if error is not None:
            raise GlowPipelineError(error)

    def cancel(self, tasks: Sequence[Any]) -> None:
        for task in tasks:
            self._ray.cancel(task)


def run_part(boxed: Sequence[Any], part: int, cores: int) -> str | None:
    """Compute a part in a worker of Ray; return the line of an error that the user can fix."""
    try:
        for _ in _unpickled(boxed[0]).run([part], Seat(0, max(1, usable_cores() // cores))):
            pass
    except GlowPipelineError as error:
        return str(error)
    return None


@lru_cache(maxsize=1)
def _unpickled(reference: Any) -> PartWork:
    """Return the work, which a worker keeps between parts: with a model that is on its GPU already."""
    return _ray().get(reference)


def connected_ray(cores: int | None = None) -> ModuleType:
    """Return the module `ray`, connected to a cluster until this process ends: a command may have several works.

    Args:
        cores: of a cluster that is started here; None: all of this machine.

    Raises:
        GlowPipelineError: Ray is not installed, or `RAY_ADDRESS` names a cluster that does not answer.
    """
    address = _running_cluster()
    # Both are read when Ray is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send them to its makers
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on Linux, too, it then is on loopback alone
    ray = _ray()
    if not ray.is_initialized():  # by another work, or by a notebook of Databricks
        settings: dict[str, Any] = {"address": address}
        if address is None:
            settings = {"address": "local", "num_cpus": cores or usable_cores(), "object_store_memory": OBJECT_STORE}
        with _own_signal_handlers():
            ray.init(**settings, include_dashboard=False, logging_level="warning", log_to_driver=False)
    return ray


def check_installed() -> None:
    """Check that Ray is installed, without the seconds that its import takes.

    Raises:
        GlowPipelineError: it is not.
    """
    if find_spec("ray") is None:
        raise GlowPipelineError(f"workers.engine=ray: Ray is not installed; {INSTALL}")


@cache
def _ray() -> ModuleType:
    """Import Ray.

    Raises:
        GlowPipelineError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as problem:
        raise GlowPipelineError(f"workers.engine=ray: Ray is not installed ({problem}); {INSTALL}") from problem
    return ray


def _running_cluster() -> str | None:
    """Return the address of the cluster to join; None: there is none.

    Raises:
        GlowPipelineError: `RAY_ADDRESS` names one that does not answer.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address not in ("", "auto", "local"):
        if not address.startswith("ray://") and not _answers(address):
            raise GlowPipelineError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there; start it, or unset RAY_ADDRESS for one of this "
                f"machine alone"
            )
        return address
    if address == "local":
        return None
    started = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster")  # `ray start`
    try:
        address = started.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return address if _answers(address) else None


def _answers(address: str) -> bool:
    """Return whether something listens at `host:port`."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Undo the handler of SIGTERM that Ray installs: the project has its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _cores_beside_a_gpu(nodes: Sequence[dict[str, Any]]) -> int:
    """Return how many cores each GPU of a cluster can have, on whatever node it is: they decode images for it."""
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    return max(1, min((int(has.get("CPU", 1) // has["GPU"]) for has in resources if has.get("GPU")), default=1))
