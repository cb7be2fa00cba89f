"""Which machines and devices a training has, and how they find each other."""

import os
import socket

import torch

from glow_pipeline.errors import GlowPipelineError

RANK_VARIABLES = ("NODE_RANK", "GROUP_RANK", "SLURM_NODEID")


def n_processes(devices: int | str, device: torch.device) -> int:
    """How many processes on this machine.

    Raises:
        GlowPipelineError: there are not so many GPUs.
    """
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if devices == "auto":
        return there
    if device.type == "cuda" and int(devices) > there:
        raise GlowPipelineError(f"train.devices={devices}: torch finds {there} GPUs here; lower it, or set it to auto")
    if device.type == "mps" and int(devices) > 1:
        raise GlowPipelineError(f"train.devices={devices}: mps is one device; set it to 1")
    return int(devices)


def machine_rank(machines: int) -> int:
    """Which of the machines this is; the first one, 0, keeps the records.

    Raises:
        GlowPipelineError: nothing says so.
    """
    if machines == 1:
        return 0
    for name in RANK_VARIABLES:
        if name in os.environ:
            rank = os.environ[name]
            if rank.isdigit() and int(rank) < machines:
                return int(rank)
            raise GlowPipelineError(f"{name}={rank}: should be 0 to {machines - 1}, as train.nodes={machines}")
    raise GlowPipelineError(
        f"train.nodes={machines}: none of {', '.join(RANK_VARIABLES)} says which of them this machine is; "
        f"set NODE_RANK=0 on the first, 1 on the next"
    )


def meeting_point(rendezvous: str | None) -> str:
    """Where the machines find each other, host:port.

    Raises:
        GlowPipelineError: nothing says so.
    """
    if rendezvous is not None:
        return rendezvous
    if "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ:
        return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    raise GlowPipelineError(
        "train.rendezvous=null: several machines need a place to meet; set it to host:port of the first machine, or "
        "set MASTER_ADDR and MASTER_PORT"
    )


def own_address(endpoint: str) -> str:
    """This machine's address on the way to the meeting point; its name need not be known to the others.

    Raises:
        GlowPipelineError: the meeting point's name means nothing here.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(*host_and_port(endpoint), type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as to_there:
            to_there.connect(address)  # sends nothing
            return str(to_there.getsockname()[0])
    except (OSError, ValueError) as error:
        raise GlowPipelineError(
            f"train.rendezvous={endpoint}: no way there from this machine ({error}); set it to host:port of the first "
            f"machine"
        ) from None


def host_and_port(endpoint: str) -> tuple[str, int]:
    """`host:port` in its parts."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)
