"""The variables by which launchers tell a process which one of several it is, and where the first one is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from glow_pipeline.errors import GlowPipelineError


@dataclass(frozen=True)
class Variables:
    """The names that one launcher uses.

    Attributes:
        index: which one this is, from `first` on.
        count: how many there are; empty where the launcher does not say.
        first: variable with the lowest index; empty where it is 0.
    """

    index: str
    count: str = ""
    first: str = ""


TYPED = Variables("NODE_RANK")  # by a person, or in a recipe for what sets no variable of its own
SKYPILOT = Variables("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES")
KUBEFLOW = Variables("PET_NODE_RANK", "PET_NNODES")  # torchrun's parameters, as Kubeflow's Trainer sets them
INDEXED_JOB = Variables("JOB_COMPLETION_INDEX")  # of Kubernetes, also within a JobSet
# Machines of one training, which run at the same time and talk to each other; the first that is set counts.
MACHINES = (TYPED, Variables("GROUP_RANK"), SKYPILOT, KUBEFLOW, Variables("SLURM_NODEID"), INDEXED_JOB)
# Commands that share a work and need not run at the same time. Of a Slurm array each task is one machine, number 0.
COMMANDS = (
    TYPED,
    Variables("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    INDEXED_JOB,
    SKYPILOT,
    KUBEFLOW,
    Variables("SLURM_PROCID", "SLURM_NTASKS"),
)
ADDRESSES = (("MASTER_ADDR", "MASTER_PORT"), ("PET_MASTER_ADDR", "PET_MASTER_PORT"))
SKYPILOT_ADDRESSES = "SKYPILOT_NODE_IPS"  # a line for each machine; the first line is the first one's
PORT = 29500  # where a launcher gives an address alone
NAMES = frozenset(
    {name for launcher in (*MACHINES, *COMMANDS) for name in (launcher.index, launcher.count, launcher.first) if name}
    | {name for pair in ADDRESSES for name in pair}
    | {SKYPILOT_ADDRESSES}
)


def place_of(launchers: Sequence[Variables], of: int | None, parameter: str) -> tuple[int, int]:
    """Return the index of this process and the number of all.

    Args:
        launchers: the first whose variable is set counts.
        of: the number, if the user has given it.
        parameter: that the user can give it by.

    Raises:
        GlowPipelineError: the environment does not say, says what cannot be, or says another number than the user.
    """
    for names in launchers:
        if names.index in os.environ:
            index = _number(names.index) - (_number(names.first) if names.first in os.environ else 0)
            said = _number(names.count) if names.count in os.environ else None
            if of is not None and said is not None and of != said:
                raise GlowPipelineError(f"{parameter}={of}: {names.count}={said}; set {parameter}={said}")
            count = said if of is None else of
            if count is None:
                raise GlowPipelineError(
                    f"{parameter}=null: {names.index}={os.environ[names.index]} says which one this command is, but "
                    f"nothing says how many there are; set {parameter}"
                )
            if not 0 <= index < count:
                allowed = f"0 to {count - 1}{f' from {names.first} on' if names.first in os.environ else ''}"
                raise GlowPipelineError(
                    f"{names.index}={os.environ[names.index]}: should be {allowed}, as {parameter}={count}"
                )
            return index, count
    raise GlowPipelineError(
        f"{parameter}={'null' if of is None else of}: none of {', '.join(names.index for names in launchers)} says "
        f"which of them this is; set NODE_RANK=0 on the first, 1 on the next"
    )


def meeting_place() -> str | None:
    """Return host:port of the first machine, as the launcher says; None if it does not."""
    for address, port in ADDRESSES:
        if os.environ.get(address) and os.environ.get(port):
            return f"{os.environ[address]}:{os.environ[port]}"
    listed = os.environ.get(SKYPILOT_ADDRESSES, "").split()
    return f"{listed[0]}:{PORT}" if listed else None


def _number(name: str) -> int:
    value = os.environ[name]
    if not (value.isascii() and value.isdigit()):
        raise GlowPipelineError(f"{name}={value}: should be a number from 0 on")
    return int(value)
