"""The machines and devices of a training, and how they find each other."""

import socket

import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.launchers import MACHINES, meeting_place, place_of
from glow_pipeline.parameters import TrainParameters


def n_processes(devices: int | str, device: torch.device, parameter: str = "train.devices") -> int:
    """Return the number of processes on this machine.

    Args:
        devices: as typed.
        device: the device on which they train or score.
        parameter: that gives `devices`.

    Raises:
        GlowPipelineError: this machine has fewer devices.
    """
    available = torch.cuda.device_count() if device.type == "cuda" else 1
    if devices == "auto":
        return available
    if device.type == "cuda" and int(devices) > available:
        raise GlowPipelineError(
            f"{parameter}={devices}: torch finds {available} GPUs here; lower it, or set it to auto"
        )
    if device.type == "mps" and int(devices) > 1:
        raise GlowPipelineError(f"{parameter}={devices}: mps is one device; set it to 1")
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
    return 0 if machines == 1 else place_of(MACHINES, machines, "train.nodes")[0]


def meeting_point(rendezvous: str | None) -> str:
    """Return host:port where the machines find each other.

    Args:
        rendezvous: `train.rendezvous`.

    Raises:
        GlowPipelineError: neither the parameter nor the environment gives it.
    """
    if rendezvous is not None:
        return rendezvous
    if (place := meeting_place()) is not None:
        return place
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
