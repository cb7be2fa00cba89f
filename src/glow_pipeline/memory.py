"""The memory that a flow takes, the memory that is free, and one line where it does not suffice."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow.fast.execution import Activations

FLOAT = 4  # bytes
GIB = 2**30
COPIES = 8  # of the parameters: gradients twice, two moments, folded twice, the best epoch's, themselves
WORKING_LAYERS = 7  # hidden layers' worth that a backward pass of one step of flow takes, by measurement
PASS_LAYERS = 4  # likewise of a pass without gradients
# What torch says where its exception does not: on a CPU, and of sizes that its integers do not hold.
SAYS_SO = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|not enough memory|out of memory|calculation overflowed"
    r"|multiplication overflow|Overflow when unpacking",
    re.IGNORECASE,
)


class NotEnoughMemoryError(GlowPipelineError):
    """A lack of memory; the message names the parameters that lower what is needed."""


@contextmanager
def memory_in_one_line(doing: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that fails within the block into an error of one line.

    Args:
        doing: the parameter that decides how much is needed, with its value.
        remedy: what to do.

    Raises:
        NotEnoughMemoryError: an allocation failed, on the CPU or on a GPU.
    """
    try:
        yield
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and SAYS_SO.search(str(error)) is None:
            raise
        raise NotEnoughMemoryError(f"{doing}: memory does not suffice; {remedy}") from error


def check_weights(image_shape: tuple[int, int, int], K: int, L: int, hidden_channels: int, *, affine: bool) -> None:
    """Check that this machine can hold the parameters of a flow, which is built on the CPU whatever trains it.

    Raises:
        NotEnoughMemoryError: it cannot.
    """
    needed = FLOAT * n_weights(image_shape, K, L, hidden_channels, affine=affine)
    available = available_bytes(torch.device("cpu"))
    if available is not None and needed > available:
        raise NotEnoughMemoryError(
            f"model.hidden_channels={hidden_channels}: the model's parameters alone take {in_words(needed)} of memory, "
            f"{in_words(available)} are free; lower it, or model.K={K}"
        )


def training_bytes(
    image_shape: tuple[int, int, int],
    K: int,
    L: int,
    hidden_channels: int,
    *,
    affine: bool,
    batch: int,
    at_once: int,
    scored: int,
    activations: Activations,
    network_bytes: int = FLOAT,
) -> int:
    """Return about how many bytes a training takes beside the interpreter and its libraries.

    Args:
        image_shape: (C, H, W).
        K, L, hidden_channels, affine: the flow.
        batch: images that initialise it.
        at_once: images that go through the model at once in a step.
        scored: images that are scored at once after an epoch.
        activations: what is kept for the backward pass.
        network_bytes: of a number in the coupling networks, 2 in bfloat16.
    """
    weights = n_weights(image_shape, K, L, hidden_channels, affine=affine)
    return COPIES * FLOAT * weights + max(
        pass_bytes(image_shape, L, hidden_channels, images=batch),
        pass_bytes(image_shape, L, hidden_channels, images=scored),
        step_bytes(
            image_shape,
            K,
            L,
            hidden_channels,
            affine=affine,
            images=at_once,
            activations=activations,
            network_bytes=network_bytes,
        ),
    )


def n_weights(image_shape: tuple[int, int, int], K: int, L: int, hidden_channels: int, *, affine: bool) -> int:
    """Return the number of parameters of a flow's steps, which is nearly that of the flow, without building it."""
    total, channels = 0, image_shape[0]
    for _ in range(L):
        channels *= 4
        half, rest = channels // 2, channels - channels // 2
        out = 2 * rest if affine else rest
        network = 9 * half * hidden_channels + hidden_channels**2 + 9 * hidden_channels * out
        total += K * (channels**2 + network)
        channels //= 2
    return total


def step_bytes(
    image_shape: tuple[int, int, int],
    K: int,
    L: int,
    hidden_channels: int,
    *,
    affine: bool,
    images: int,
    activations: Activations,
    network_bytes: int = FLOAT,
) -> int:
    """Return about how many bytes the passes of a training step take beside the parameters.

    Args:
        image_shape: (C, H, W).
        K, L, hidden_channels, affine: the flow.
        images: that go through the model at once.
        activations: what is kept for the backward pass.
        network_bytes: of a number in the coupling networks, 2 in bfloat16.
    """
    kept, working = 0, 0
    for channels, pixels in _levels(image_shape, L):
        hidden = hidden_channels * network_bytes
        of_step = channels * FLOAT
        networks = 2 * hidden + (channels // 2 * FLOAT if affine else 0)
        if activations == "stored":
            kept += K * (of_step + networks) * pixels
        else:
            kept += (K if activations == "checkpointed" else 1) * of_step * pixels
        again = networks if activations != "stored" else 0
        working = max(working, (again + WORKING_LAYERS * hidden + 6 * of_step) * pixels)
    return images * (kept + working)


def pass_bytes(image_shape: tuple[int, int, int], L: int, hidden_channels: int, *, images: int) -> int:
    """Return about how many bytes a pass without gradients takes.

    Args:
        image_shape: (C, H, W).
        L, hidden_channels: the flow.
        images: that go through the model at once.
    """
    return images * max((PASS_LAYERS * hidden_channels + 6 * C) * FLOAT * P for C, P in _levels(image_shape, L))


def available_bytes(device: torch.device) -> int | None:
    """Return how many bytes this process may still take on the device; None where that cannot be known.

    On a CPU what the system or this process's control group has left, whichever is less.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    left = [bytes_ for bytes_ in (_system_left(), _group_left()) if bytes_ is not None]
    return min(left) if left else None


def in_words(n_bytes: float) -> str:
    """Return a number of bytes in TiB, GiB or MiB."""
    if n_bytes >= 1024 * GIB:
        return f"{n_bytes / (1024 * GIB):,.0f} TiB"
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB / 2 else f"{n_bytes / 2**20:,.0f} MiB"


def _levels(image_shape: tuple[int, int, int], L: int) -> Iterator[tuple[int, int]]:
    """Yield the channels and pixels of each level's steps."""
    channels, pixels = image_shape[0], image_shape[1] * image_shape[2]
    for _ in range(L):
        channels, pixels = 4 * channels, pixels // 4
        yield channels, pixels
        channels //= 2


def _system_left(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    if not meminfo.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _group_left(root: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the free memory of this process's control groups (v1 or v2): the limit less what counts against it."""
    if not of_process.is_file():
        return None
    left = []
    for line in of_process.read_text(encoding="ascii").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        limit, usage = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        group = root / controllers / name.lstrip("/")
        for folder in (group, *group.parents):  # within a container its own group is the root
            if (folder / limit).is_file() and (folder / usage).is_file():
                most = (folder / limit).read_text(encoding="ascii").strip()
                if most != "max":
                    left.append(max(0, int(most) - int((folder / usage).read_text(encoding="ascii")) + _cache(folder)))
            if folder == root:
                break
    return min(left, default=None)


def _cache(group: Path) -> int:
    """Return the bytes of cached files that the system frees when memory is needed."""
    if not (group / "memory.stat").is_file():
        return 0
    stat = (group / "memory.stat").read_text(encoding="ascii")
    return sum(int(found) for found in re.findall(r"^(?:total_)?inactive_file (\d+)$", stat, re.MULTILINE)[-1:])
