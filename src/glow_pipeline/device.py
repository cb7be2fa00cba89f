"""Choice and setup of the device."""

import ctypes
import re
import sys
from typing import Literal

import torch

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.flow.fast.execution import Precision

PrecisionChoice = Literal["auto"] | Precision
DataOnDevice = Literal["auto"] | bool
Compile = Literal["auto"] | bool

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BLOCK = 2**30


def resolve_device(device: str) -> torch.device:
    """Return the named device; `auto` is cuda, else mps, else cpu.

    Raises:
        GlowPipelineError: this machine has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device != "auto":
        if not available.get(device):
            found = ", ".join(name for name in available if available[name])
            raise GlowPipelineError(f"device={device}: torch finds none here, only {found}; set device=auto")
        return torch.device(device)
    return torch.device("cuda" if available["cuda"] else "mps" if available["mps"] else "cpu")


def describe_device(device: torch.device, processes: int = 1, threads: int | None = None) -> str:
    """Return the device's name for results, with the numbers of processes and of a CPU's threads.

    Args:
        device: device of each process.
        processes: processes that train together.
        threads: threads per process; None where results do not depend on them.
    """
    several = f"{processes} processes, each on " if processes > 1 else ""
    if device.type == "cuda":
        return f"{several}cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu" and threads is not None:
        return f"{several}cpu ({threads} thread{'s' if threads > 1 else ''})"
    return f"{several}{device.type}"


def use_device(name: str) -> torch.device:
    """Return the device, set up so that a run repeats its bits.

    By default cuDNN may choose another algorithm each time.
    """
    device = resolve_device(name)
    torch.backends.cudnn.deterministic = True
    keep_freed_memory(device)
    return device


def resolve_precision(precision: PrecisionChoice, device: torch.device, *, foldable: bool = True) -> Precision:
    """Return the precision; `auto` is bfloat16 on a GPU that computes with it, else float32.

    Args:
        precision: `train.precision`.
        device: the device that trains.
        foldable: whether the fast path computes the flow; plain layers compute in float32, for which no other precision
            may be chosen (`check_fast_path` refuses it).

    Raises:
        GlowPipelineError: the device has no such precision.
    """
    if precision == "auto":
        low = foldable and device.type == "cuda" and torch.cuda.is_bf16_supported(False)
        return "bfloat16" if low else "float32"
    if precision == "tf32" and (device.type != "cuda" or torch.version.hip is not None):
        here = "an AMD GPU" if device.type == "cuda" else device.type
        raise GlowPipelineError(
            f"train.precision=tf32: {here} has no TF32, some NVIDIA GPUs have; set it to float32 or bfloat16"
        )
    if precision == "bfloat16" and device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise GlowPipelineError("train.precision=bfloat16: mps has it from macOS 14 on; set it to float32")
    return precision


def unsupported_operation(error: BaseException) -> str | None:
    """Return one line for an error by which torch refuses an operation on MPS; None for any other error."""
    if not isinstance(error, NotImplementedError | TypeError) or "MPS" not in str(error):
        return None
    operation = re.match(r"The operator '([^']+)' is not currently implemented for the MPS device", str(error))
    if operation is None:  # a dtype
        return f"device=mps: {first_line(error)}; set device=cpu"
    return (
        f"device=mps: torch has no {operation[1]} there; set device=cpu, or have the CPU compute it by the environment "
        f"variable PYTORCH_ENABLE_MPS_FALLBACK=1"
    )


def keeps_on_device(choice: DataOnDevice, n_bytes: int, device: torch.device) -> bool:
    """Return whether to keep images on the device; `auto`: if a quarter of a GPU's free memory holds their bytes."""
    if choice == "auto":
        return device.type == "cuda" and n_bytes <= torch.cuda.mem_get_info(device)[0] // 4
    return choice


def keep_freed_memory(device: torch.device) -> None:
    """Let glibc keep the memory that one step frees for the next step, for a flow on the CPU.

    By default glibc returns large blocks to the system at once, and the next step faults in all their pages again,
    which takes up to a third of its time (docs/results/speed.md). Without glibc nothing happens.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        mallopt(M_TRIM_THRESHOLD, KEPT_BLOCK)
