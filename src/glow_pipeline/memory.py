"""Estimates of the memory that a flow takes, the free memory, and one line where it is not enough."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations
from glow_pipeline.flow.fast.products.level import GROUP
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.step import FlowStep

FLOAT = 4  # bytes
GIB = 2**30
COPIES = 8  # of the parameters: themselves, gradients twice, two moments, folded twice, the best epoch's
WORKING_LAYERS = 7  # measured: memory of the backward pass of one step of flow, in hidden layers
PASS_LAYERS = 4  # measured: memory of a pass without gradients, in hidden layers
# Messages of failed allocations for which torch has no exception of its own: on a CPU, and sizes beyond its integers.
OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|not enough memory|out of memory|calculation overflowed"
    r"|multiplication overflow|Overflow when unpacking",
    re.IGNORECASE,
)


class NotEnoughMemoryError(GlowPipelineError):
    """A lack of memory. The message names the parameters that lower the need."""


@dataclass(frozen=True)
class FlowSize:
    """The numbers that decide how much memory a flow takes.

    Attributes:
        image_shape: (C, H, W) of the images.
        K: steps of flow per level.
        L: levels.
        hidden_channels: width of the coupling networks.
        affine: whether the couplings scale, which doubles the outputs of their networks.
    """

    image_shape: tuple[int, int, int]
    K: int
    L: int
    hidden_channels: int
    affine: bool

    def levels(self) -> Iterator[tuple[int, int]]:
        """Yield the channels and pixels of each level's steps."""
        channels, pixels = self.image_shape[0], self.image_shape[1] * self.image_shape[2]
        for _ in range(self.L):
            channels, pixels = 4 * channels, pixels // 4
            yield channels, pixels
            channels //= 2


def size_of(flow: Glow) -> FlowSize:
    """Return the size of a flow, of couplings of any class: they count as wide as their widest layer."""
    steps = [step for level in flow.levels for step in cast(Level, level).steps]
    parameters = [each for step in steps for each in cast(FlowStep, step).coupling.parameters()]
    widest = max((len(each) for each in parameters if each.ndim > 0), default=1)  # some have scalars, or none at all
    return FlowSize(flow.image_shape, len(steps) // len(flow.levels), len(flow.levels), widest, affine=True)


@contextmanager
def memory_in_one_line(doing: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that fails inside the block into an error of one line.

    Args:
        doing: the parameter that decides how much is needed, with its value.
        remedy: advice to the user.

    Raises:
        NotEnoughMemoryError: an allocation failed, on the CPU or on a GPU.
    """
    try:
        yield
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and OUT_OF_MEMORY.search(str(error)) is None:
            raise
        raise NotEnoughMemoryError(f"{doing}: memory does not suffice; {remedy}") from error


def check_weights(size: FlowSize) -> None:
    """Check that this machine can hold the parameters of a flow, which is built on the CPU whatever trains it.

    Raises:
        NotEnoughMemoryError: the parameters are larger than the free memory.
    """
    needed = FLOAT * n_weights(size)
    available = available_bytes(torch.device("cpu"))
    if available is not None and needed > available:
        raise NotEnoughMemoryError(
            f"model.hidden_channels={size.hidden_channels}: the model's parameters alone take {in_words(needed)} of "
            f"memory, {in_words(available)} are free; lower it, or model.K={size.K}"
        )


def training_bytes(
    size: FlowSize,
    *,
    batch: int,
    at_once: int,
    scored: int,
    activations: Activations,
    network_bytes: int = FLOAT,
    products: bool = False,
) -> int:
    """Estimate how many bytes a training takes, without the interpreter and its libraries.

    Args:
        size: size of the flow.
        batch: images that initialise it.
        at_once: images that go through the model at once in a step.
        scored: images that are scored at once after an epoch.
        activations: what is kept for the backward pass.
        network_bytes: bytes of a number in the coupling networks: 4, or 2 in bfloat16.
        products: whether the coupling networks are computed as matrix products, as on a GPU.
    """
    return COPIES * FLOAT * n_weights(size) + max(
        pass_bytes(size, images=batch),
        pass_bytes(size, images=scored),
        step_bytes(size, images=at_once, activations=activations, network_bytes=network_bytes, products=products),
    )


def n_weights(size: FlowSize) -> int:
    """Return the number of parameters in the steps of a flow, nearly all that it has, without building it."""
    total = 0
    for channels, _ in size.levels():
        half, rest = channels // 2, channels - channels // 2
        out = 2 * rest if size.affine else rest
        network = 9 * half * size.hidden_channels + size.hidden_channels**2 + 9 * size.hidden_channels * out
        total += size.K * (channels**2 + network)
    return total


def step_bytes(
    size: FlowSize,
    *,
    images: int,
    activations: Activations,
    network_bytes: int = FLOAT,
    products: bool = False,
) -> int:
    """Estimate how many bytes the passes of a training step take, without the parameters.

    Args:
        size: size of the flow.
        images: images that go through the model at once.
        activations: what is kept for the backward pass.
        network_bytes: bytes of a number in the coupling networks: 4, or 2 in bfloat16.
        products: as in `training_bytes`.
    """
    kept, working = 0, 0
    group = min(size.K, GROUP) if products and activations == "stored" else 0
    hidden = size.hidden_channels * network_bytes
    for channels, pixels in size.levels():
        output = channels * FLOAT
        networks = 2 * hidden + (channels // 2 * FLOAT if size.affine else 0)
        if activations == "stored":
            kept += size.K * (output + networks) * pixels
        else:
            kept += (size.K if activations == "checkpointed" else 1) * output * pixels
        again = networks if activations != "stored" else 0
        # Of a group of steps: gradients of both hidden layers and the output, and neighbourhoods of both ends.
        out = channels if size.affine else channels // 2
        grouped = group * (2 * hidden + output + 9 * (channels // 2 + out) * network_bytes)
        working = max(working, (again + WORKING_LAYERS * hidden + 6 * output + grouped) * pixels)
    return images * (kept + working)


def pass_bytes(size: FlowSize, *, images: int) -> int:
    """Estimate how many bytes a pass of so many images without gradients takes."""
    return images * max(
        (PASS_LAYERS * size.hidden_channels + 6 * channels) * FLOAT * pixels for channels, pixels in size.levels()
    )


def available_bytes(device: torch.device) -> int | None:
    """Return how many bytes this process may still allocate on the device; None where that is unknown.

    On a CPU the lesser of what the system and this process's control group have left.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    left = [n_bytes for n_bytes in (system_bytes(), control_group_bytes()) if n_bytes is not None]
    return min(left) if left else None


def in_words(n_bytes: float) -> str:
    """Return a number of bytes in TiB, GiB or MiB."""
    if n_bytes >= 1024 * GIB:
        return f"{n_bytes / (1024 * GIB):,.0f} TiB"
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB / 2 else f"{n_bytes / 2**20:,.0f} MiB"


def system_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that Linux can still give to processes; None on other systems."""
    if not meminfo.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def control_group_bytes(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return the memory that this process's control groups (v1 or v2) have left; None without a limit."""
    if not membership.is_file():
        return None
    left = []
    for line in membership.read_text(encoding="ascii").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        limit, usage = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        group = root / controllers / name.lstrip("/")
        for folder in (group, *group.parents):  # inside a container its own group is the root
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
