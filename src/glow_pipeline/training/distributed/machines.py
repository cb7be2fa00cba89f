"""The machines and devices of a training, and how they find each other."""

import os
import socket

import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import TrainParameters

RANK_VARIABLES = ("NODE_RANK", "GROUP_RANK", "SLURM_NODEID")


def n_processes(devices: int | str, device: torch.device) -> int:
    """Return the number of processes on this machine.

    Args:
        devices: `train.devices`.
        device: the device on which they train.

    Raises:
        GlowPipelineError: this machine has fewer devices.
    """
    available = torch.cuda.device_count() if device.type == "cuda" else 1
    if devices == "auto":
        return available
    if device.type == "cuda" and int(devices) > available:
        raise GlowPipelineError(
            f"train.devices={devices}: torch finds {available} GPUs here; lower it, or set it to auto"
        )
    if device.type == "mps" and int(devices) > 1:
        raise GlowPipelineError(f"train.devices={devices}: mps is one device; set it to 1")
    return int(devices)


def n_processes_in_all(train: TrainParameters, device: torch.device) -> int:
    """Return the number of processes of all machines, each of which has as many devices as this one.

    Raises:
        GlowPipelineError: this machine has fewer devices than `train.devices` says.
    """
    return train.nodes * n_processes(train.devices, device)


def machine_rank(machines: int) -> int:
    """Return the rank of this machine; the first one, 0, keeps the records.

    Raises:
        GlowPipelineError: no environment variable gives a valid one.
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
    """Return host:port where the machines find each other.

    Args:
        rendezvous: `train.rendezvous`.

    Raises:
        GlowPipelineError: neither the parameter nor the environment gives it.
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
    """Return this machine's address on the route to the meeting point; others need not know its name.

    Raises:
        GlowPipelineError: the meeting point cannot be resolved here.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(*host_and_port(endpoint), type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as route:
            route.connect(address)  # sends nothing
            return str(route.getsockname()[0])
    except (OSError, ValueError) as error:
        raise GlowPipelineError(
            f"train.rendezvous={endpoint}: no way there from this machine ({error}); set it to host:port of the first "
            f"machine"
        ) from None


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)
