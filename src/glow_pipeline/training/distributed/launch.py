"""Several processes for one training, on this machine and on others: torch's elastic launcher, called from a node.

The launcher starts a process a device, watches them, and when one dies starts all of them again, which then go on from
the last checkpoint. Machines find each other at the rendezvous.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # undeclared
from torch.distributed.rendezvous import rendezvous as meet
from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.signals import SIGNALS
from glow_pipeline.threads import usable_cores
from glow_pipeline.training.distributed.machines import host_and_port, machine_rank, meeting_point, own_address
from glow_pipeline.training.distributed.process_group import ProcessMissingError

logger = logging.getLogger(__name__)

STOPPED, FAILED, TOO_LARGE = "stopped", "failed", "out of memory"
MEETING_TIME = 1800  # seconds; a machine that has its images at hand waits for one that has to prepare them
NO_SERVER = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


def leads_here(first_machine: bool) -> bool:
    """Whether this process is the one that writes and logs: the first on the first machine."""
    return first_machine and os.environ["LOCAL_RANK"] == "0"


def launch(
    worker: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    per_machine: int,
    machines: int,
    rendezvous: str | None,
    max_restarts: int,
) -> None:
    """Let `worker(restarted, *arguments)` run in each of the processes, in torch's default process group.

    Args:
        worker: a function of a module; its `restarted` says whether the process stands in for one of before.
        arguments: small, as they go to each process.
        rendezvous: as `meeting_point` takes it; without meaning on one machine.
        max_restarts: how often to start all again when one has died.

    Raises:
        GlowPipelineError: a process told one, or failed once more than it may; with that process's own error.
        torch.OutOfMemoryError: the memory of one of the GPUs did not suffice.
        SystemExit: the processes were asked to stop, and did.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in (
        "torch.distributed",
        "torch.distributed.elastic",
        "torch.distributed.launcher",
        "torch.multiprocessing",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes tell their errors themselves
    handlers = {signum: signal.getsignal(signum) for signum in (*SIGNALS, signal.SIGHUP, signal.SIGQUIT)}
    here = machines == 1
    with tempfile.TemporaryDirectory() as folder:

        def stop(signum: int, _frame: FrameType | None) -> None:
            (Path(folder) / STOPPED).touch()
            raise SignalException(f"signal {signum}", signal.Signals(signum))  # the launcher hands it on

        meeting: dict[str, Any]
        # The launcher's own server would listen to the network, and keep what processes said before they died.
        os.environ[NO_SERVER] = "1"
        if here:  # They meet in a file: no port is opened at all.
            address, meeting = "127.0.0.1", {"store_type": "file"}
            endpoint = str(Path(folder) / "rendezvous")
        else:
            endpoint = meeting_point(rendezvous)
            address = own_address(endpoint)
            meeting = {
                "is_host": machine_rank(machines) == 0,
                "join_timeout": MEETING_TIME,
                "read_timeout": MEETING_TIME,
            }
        config = LaunchConfig(
            min_nodes=machines,
            max_nodes=machines,
            nproc_per_node=per_machine,
            run_id="glow_pipeline",
            rdzv_backend="c10d",
            rdzv_endpoint=endpoint,
            rdzv_configs=meeting,
            local_addr=address,
            max_restarts=max_restarts,
            monitor_interval=0.1,
            start_method="spawn",
            signals_to_handle="SIGHUP,SIGQUIT",
            logs_specs=DefaultLogsSpecs(folder),  # its own would stay in the system's temporary folder
        )
        for signum in SIGNALS:
            if handlers[signum] != signal.SIG_IGN:
                signal.signal(signum, stop)
        try:
            told = elastic_launch(config, _in_group)(Path(folder), None if here else endpoint, worker, arguments)
        except SignalException as asked:
            raise SystemExit(128 + int(asked.sigval)) from None
        except ChildFailedError as failed:
            raise GlowPipelineError(_own_error(failed, per_machine * machines, max_restarts)) from failed
        except RendezvousError as error:
            raise GlowPipelineError(
                f"train.rendezvous={endpoint}: the {machines} machines did not meet there ({error}); it should be an "
                f"address of the first machine, NODE_RANK=0, with a port that is free there and open to the others"
            ) from error
        finally:
            os.environ.pop(NO_SERVER, None)
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
    for kind, content in told.values():
        if kind == FAILED:
            raise GlowPipelineError(content)
        if kind == TOO_LARGE:
            raise torch.OutOfMemoryError(content)
    for kind, content in told.values():
        if kind == STOPPED:
            raise SystemExit(content)


def _in_group(
    folder: Path, endpoint: str | None, worker: Callable[..., None], arguments: tuple[Any, ...]
) -> tuple[str, Any]:
    """What a started process does: join the others, work, leave. A mistake of the user's is told, not tried again.

    Args:
        folder: of this machine's processes.
        endpoint: where the launchers of several machines meet.
        worker, arguments: the work.
    """
    from torch.distributed.elastic.multiprocessing.errors import record

    threading.Thread(target=_end_with_launcher, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is one of the system's, and a killed process would leave it behind
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Not by torch's count of restarts: it leaves out those that another machine caused.
    begun = folder / f"begun_{os.environ['LOCAL_RANK']}"
    restarted = begun.exists()
    begun.touch()
    if restarted and os.environ["LOCAL_RANK"] == "0":
        logger.warning("A process has died: all of them have been started again, and go on from the last checkpoint.")
    messages = _join(folder, endpoint)
    try:
        # `record` writes the error of a failing process where the launcher looks for it.
        told = cast(tuple[str, Any], record(_work)(messages, worker, (restarted, *arguments)))
    finally:
        dist.destroy_process_group()
    if (folder / STOPPED).exists():  # then the launcher takes no answer any more, and would have this process wait
        raise SystemExit(told[1])
    return told


def _end_with_launcher() -> None:
    """End this process at once when the one that started it has ended without ending it, by `kill -9` say.

    Otherwise it would go on alone with a training that may be typed again meanwhile, or wait for ever for the others.
    """
    cast(Any, multiprocessing.parent_process()).join()
    os.kill(os.getpid(), signal.SIGKILL)


def _join(folder: Path, endpoint: str | None) -> Store:
    """Join torch's default process group; where its processes leave a message that outlives them."""
    processes_here = int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.set_num_threads(max(1, usable_cores() // processes_here))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if endpoint is None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        group: Store = FileStore(str(folder / f"group_{os.environ['TORCHELASTIC_RESTART_COUNT']}"), size)
        messages = group
    else:
        group = next(meet("env://", rank, size))[0]
        host, port = host_and_port(endpoint)
        messages = PrefixStore("glow_pipeline", TCPStore(host, port, is_master=False))
    dist.init_process_group(backend, store=group, rank=rank, world_size=size)
    return messages


def _work(messages: Store, worker: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        worker(*arguments)
    except GlowPipelineError as error:
        messages.set(FAILED, str(error))
        return FAILED, str(error)
    except torch.OutOfMemoryError as error:  # there is as little memory after a new start
        line = str(error).partition("\n")[0]
        messages.set(TOO_LARGE, line)
        return TOO_LARGE, line
    except SystemExit as stopped:
        return STOPPED, stopped.code
    except ProcessMissingError:
        for kind in (FAILED, TOO_LARGE):
            if messages.check([kind]):  # it has left with that
                return kind, messages.get(kind).decode()
        time.sleep(1)  # that the launcher sees it first: its error is the one to tell
        raise
    except Exception:
        logger.exception("Process %s of %s has failed", os.environ["RANK"], os.environ["WORLD_SIZE"])
        raise
    return "done", None


def _own_error(failed: Any, processes: int, max_restarts: int) -> str:
    """The error of the process that failed first, in a line."""
    rank, failure = failed.get_first_failure()
    if failure.exitcode < 0:
        error = f"was killed by {signal.Signals(-failure.exitcode).name} (out of memory?)"
    else:
        told = failure.message["message"] if isinstance(failure.message, dict) else failure.message
        error = f"failed ({str(told).strip().splitlines()[0]})"
    return (
        f"train.devices: process {rank} of {processes} {error}; after train.max_restarts={max_restarts} new starts "
        f"from the last checkpoint it is not tried again; mend what it says and type the same command again"
    )
