"""Several processes for one training, on this machine and on others: torch's elastic launcher, called from a node.

The launcher starts a process for each device and watches them. When one dies, it starts all of them again, and they
resume from the last checkpoint. Machines find each other at the rendezvous.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # undeclared
from torch.distributed.rendezvous import rendezvous as meet
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError, TrainingStopped, first_line
from glow_pipeline.signals import SignalHandlers, unchanged_handlers
from glow_pipeline.threads import usable_cores
from glow_pipeline.training.distributed.machines import host_and_port, machine_rank, meeting_point, own_address
from glow_pipeline.training.distributed.process_group import ProcessMissingError

logger = logging.getLogger(__name__)

DONE, STOPPED, FAILED, TOO_LARGE = "done", "stopped", "failed", "out of memory"
MEETING_TIME = 1800  # seconds; a machine whose images are prepared waits for one that has to prepare them
NO_SERVER = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
NOISY_LOGGERS = ("distributed", "distributed.elastic", "distributed.launcher", "multiprocessing")  # of torch

Result = tuple[str, Any]  # how a process ended: one of the four words above, and its message or exit code


def leads_here(first_machine: bool) -> bool:
    """Return whether this process is the one that writes and logs: the first on the first machine."""
    return first_machine and os.environ["LOCAL_RANK"] == "0"


def launch(
    worker: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    per_machine: int,
    machines: int,
    rendezvous: str | None,
    max_restarts: int,
    on_gpus: bool = False,
) -> None:
    """Run `worker(restarted, *arguments)` in each of the processes, in torch's default process group.

    Args:
        worker: a function of a module; `restarted` says whether the process replaces one that died.
        arguments: sent to each process, so they should be small.
        per_machine: number of processes on each machine.
        machines: number of machines.
        rendezvous: as in `meeting_point`; ignored on one machine.
        max_restarts: how often to start all of them again after one has died.
        on_gpus: each process has a GPU of its machine, by which it communicates.

    Raises:
        GlowPipelineError: a process raised one, or failed once more than allowed; with that process's own error.
        torch.OutOfMemoryError: the memory of one of the GPUs did not suffice.
        TrainingStopped: the processes were requested to stop, and did.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    for name in NOISY_LOGGERS:
        logging.getLogger(f"torch.{name}").setLevel(logging.CRITICAL)  # the processes report their errors themselves
    launchers_own = (signal.SIGHUP, signal.SIGQUIT)
    with tempfile.TemporaryDirectory() as folder, unchanged_handlers(launchers_own):
        endpoint = None if machines == 1 else meeting_point(rendezvous)
        config = _launch_config(Path(folder), endpoint, per_machine, machines, max_restarts)

        def stop(number: int) -> None:
            (Path(folder) / STOPPED).touch()
            raise SignalException(f"signal {number}", signal.Signals(number))  # the launcher forwards it

        try:
            with SignalHandlers(stop), _no_own_server():
                results = elastic_launch(config, _in_group)(Path(folder), endpoint, on_gpus, worker, arguments)
        except SignalException as interrupted:
            raise TrainingStopped(None, 128 + int(interrupted.sigval)) from None
        except ChildFailedError as failed:
            raise GlowPipelineError(_first_error(failed, per_machine * machines, max_restarts)) from failed
        except RendezvousError as error:
            raise GlowPipelineError(
                f"train.rendezvous={endpoint}: the {machines} machines did not meet there ({error}); it should be an "
                f"address of the first machine, NODE_RANK=0, with a port that is free there and open to the others"
            ) from error
    _raise_of(list(results.values()))


def _launch_config(folder: Path, endpoint: str | None, per_machine: int, machines: int, max_restarts: int) -> Any:
    """Return the launcher's configuration.

    Args:
        folder: folder for the launcher's files.
        endpoint: where several machines meet; None: processes of one machine meet in a file, and open no port.
        per_machine, machines, max_restarts: as in `launch`.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    if endpoint is None:
        address = "127.0.0.1"
        meeting: dict[str, Any] = {"store_type": "file"}
    else:
        address = own_address(endpoint)
        times = {"join_timeout": MEETING_TIME, "read_timeout": MEETING_TIME}
        meeting = {"is_host": machine_rank(machines) == 0, **times}
    return LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=per_machine,
        run_id="glow_pipeline",
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint or str(folder / "rendezvous"),
        rdzv_configs=meeting,
        local_addr=address,
        max_restarts=max_restarts,
        monitor_interval=0.1,
        start_method="spawn",
        signals_to_handle="SIGHUP,SIGQUIT",
        logs_specs=DefaultLogsSpecs(str(folder)),  # its own would stay in the system's temporary folder
    )


@contextmanager
def _no_own_server() -> Iterator[None]:
    """Keep the launcher from its own server, which would listen to the network and keep messages of dead processes."""
    os.environ[NO_SERVER] = "1"
    try:
        yield
    finally:
        os.environ.pop(NO_SERVER, None)


def _raise_of(results: list[Result]) -> None:
    """Raise what the processes ended with: an error first, then a stop."""
    for kind, content in results:
        if kind == FAILED:
            raise GlowPipelineError(content)
        if kind == TOO_LARGE:
            raise torch.OutOfMemoryError(content)
    for kind, content in results:
        if kind == STOPPED:
            raise TrainingStopped(None, content)


def _in_group(
    folder: Path, endpoint: str | None, on_gpus: bool, worker: Callable[..., None], arguments: tuple[Any, ...]
) -> Result:
    """Join the other processes, work, and leave. An error of the user is returned, so that it is not tried again.

    Args:
        folder: folder that this machine's processes share.
        endpoint: where the launchers of several machines meet.
        on_gpus, worker, arguments: as in `launch`.
    """
    from torch.distributed.elastic.multiprocessing.errors import record

    threading.Thread(target=_end_with_launcher, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is one of the system's, and a killed process would leave it behind
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Not by torch's count of restarts: it leaves out those that another machine caused.
    started = folder / f"started_{os.environ['LOCAL_RANK']}"
    restarted = started.exists()
    started.touch()
    if restarted and os.environ["LOCAL_RANK"] == "0":
        logger.warning("A process has died: all have been started again, and resume from the last checkpoint.")
    messages = _join(folder, endpoint, on_gpus)
    try:
        # `record` writes the error of a failing process where the launcher looks for it.
        result = cast(Result, record(_work)(messages, worker, (restarted, *arguments)))
    finally:
        dist.destroy_process_group()
    if (folder / STOPPED).exists():  # then the launcher takes no answer any more, and would have this process wait
        sys.exit(result[1])  # of this process
    return result


def _end_with_launcher() -> None:
    """End this process when the one that started it has ended without ending it, for example by `kill -9`.

    Otherwise it would train on alone while the same command may be typed again, or wait for ever for the others.
    """
    cast(Any, multiprocessing.parent_process()).join()
    os.kill(os.getpid(), signal.SIGKILL)


def _join(folder: Path, endpoint: str | None, on_gpus: bool) -> Store:
    """Join torch's default process group; return the store in which processes leave messages that outlive them."""
    processes_here = int(os.environ["LOCAL_WORLD_SIZE"])
    gpu = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpus else None
    if gpu is not None:
        torch.cuda.set_device(gpu)
    torch.set_num_threads(max(1, usable_cores() // processes_here))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "gloo" if gpu is None else "cpu:gloo,cuda:nccl"
    if endpoint is None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        group: Store = FileStore(str(folder / f"group_{os.environ['TORCHELASTIC_RESTART_COUNT']}"), size)
        messages = group
    else:
        group = next(meet("env://", rank, size))[0]
        host, port = host_and_port(endpoint)
        messages = PrefixStore("glow_pipeline", TCPStore(host, port, is_master=False))
    # With the device NCCL connects at once: an error is raised here, and not at the first step.
    dist.init_process_group(backend, store=group, rank=rank, world_size=size, device_id=gpu)
    return messages


def _work(messages: Store, worker: Callable[..., None], arguments: tuple[Any, ...]) -> Result:
    try:
        worker(*arguments)
    except GlowPipelineError as error:
        messages.set(FAILED, str(error))
        return FAILED, str(error)
    except torch.OutOfMemoryError as error:  # a restart brings no more memory
        line = first_line(error)
        messages.set(TOO_LARGE, line)
        return TOO_LARGE, line
    except TrainingStopped as stopped:
        return STOPPED, stopped.exit_code
    except ProcessMissingError:
        for kind in (FAILED, TOO_LARGE):
            if messages.check([kind]):  # the missing process has left with that
                return kind, messages.get(kind).decode()
        time.sleep(1)  # so that the launcher sees the missing process first, whose error is the one to report
        raise
    except Exception:
        logger.exception("Process %s of %s has failed", os.environ["RANK"], os.environ["WORLD_SIZE"])
        raise
    return DONE, None


def _first_error(failed: Any, processes: int, max_restarts: int) -> str:
    """Return the error of the process that failed first, in a line."""
    rank, failure = failed.get_first_failure()
    if failure.exitcode < 0:
        error = f"was killed by {signal.Signals(-failure.exitcode).name} (out of memory?)"
    else:
        message = failure.message["message"] if isinstance(failure.message, dict) else failure.message
        error = f"failed ({str(message).strip().splitlines()[0]})"
    return (
        f"train.devices: process {rank} of {processes} {error}; after train.max_restarts={max_restarts} restarts "
        f"from the last checkpoint it is not tried again; fix what it says and type the same command again"
    )
