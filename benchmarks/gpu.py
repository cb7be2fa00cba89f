"""Speed and accuracy of the flow on a GPU, in its forms, beside public libraries.

    python benchmarks/gpu.py accuracy
    python benchmarks/gpu.py train <K> <hidden channels> <batch size> convolutions|products|kernels
    python benchmarks/gpu.py score convolutions|kernels
    python benchmarks/gpu.py peers
    python benchmarks/gpu.py idle
    python benchmarks/gpu.py table <file> ...

Each prints a line of JSON for each result, and `table` makes Markdown of such lines. Times are medians over groups of
calls, from the first call until the device has done the last. `levels_by_kernels` says how many of a flow's levels were
computed by kernels: where a device has none, or fails at their trial, a row named "kernels" is of another form.

`gpu_checks.sh` starts many of them side by side, since most of the time is compilation: with the folder GPU_CHECKS set,
each waits there for the file `go` before it measures, and no two measure at once. With DRY_RUN set a CPU makes one
small step of everything without torch.compile; speeds are then null, since none is measured.
"""

import copy
import fcntl
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

import torch
from contenders import BUILD, Work, sample_images
from torch import Tensor

from glow_pipeline.device import use_device
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Activations, Execution, Precision
from glow_pipeline.flow.fast.kernels.kinds import Kernel
from glow_pipeline.flow.fast.kernels.support import usable
from glow_pipeline.flow.level import Level
from glow_pipeline.flow.step import FlowStep
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.captured_step import Captured
from glow_pipeline.training.step import TrainingStep, losses

DRY_RUN = bool(os.environ.get("DRY_RUN"))
DEVICE = torch.device("cpu" if DRY_RUN else "cuda")
SHAPE = (3, 32, 32)
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
ACTIVATIONS: tuple[Activations, ...] = ("stored", "checkpointed", "reversible")
FORMS = ("convolutions", "products", "kernels")
PEERS = ("normflows", "FrEIA")


def report(**result: object) -> None:
    """Print a line of JSON, its numbers with five digits."""
    rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in result.items()}
    print(json.dumps(rounded), flush=True)  # noqa: T201


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Measure inside the block: after the file `go` was made, and while no other process measures."""
    if "GPU_CHECKS" not in os.environ:
        yield
        return
    folder = Path(os.environ["GPU_CHECKS"])
    (folder / f"ready {name}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "stop").exists():
            sys.exit(f"{name}: no time was left to measure it")
        yield


def synchronize() -> None:
    """Wait for the device."""
    if not DRY_RUN:
        torch.cuda.synchronize()


def speed(call: Callable[[], object], n_images: int, seconds: float) -> dict[str, float | None]:
    """Measure a call that computes so many images, again and again for so many seconds.

    Returns:
        ms: time of a call on the device.
        host_ms: time until it returns to the host.
        images_per_s: by the time on the device.
    """
    if DRY_RUN:
        call()
        return {"ms": None, "host_ms": None, "images_per_s": None}
    for _ in range(3):
        call()
    synchronize()
    started = time.perf_counter()
    call()
    synchronize()
    n = max(1, min(50, int(0.1 / (time.perf_counter() - started))))
    device: list[float] = []
    host: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(device) < 3:
        started = time.perf_counter()
        for _ in range(n):
            call()
        host.append((time.perf_counter() - started) / n)
        synchronize()
        device.append((time.perf_counter() - started) / n)
    device_s = statistics.median(device)
    return {"ms": 1e3 * device_s, "host_ms": 1e3 * statistics.median(host), "images_per_s": n_images / device_s}


def kernels_of(title: str, call: Callable[[], object], rows: int) -> None:
    """Report the number of kernels of a call, their time together, and print the longest."""
    if DRY_RUN:
        return
    from torch.autograd.profiler_util import DeviceType  # type: ignore[attr-defined]  # torch does not declare it
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        synchronize()
    times: dict[str, list[float]] = {}
    for event in found.events():
        if event.device_type == DeviceType.CUDA and not event.name.startswith("Optimizer.step"):  # a range, no kernel
            times.setdefault(event.name[:100], []).append(event.time_range.elapsed_us())
    report(kernels_of=title, kernels=sum(map(len, times.values())), ms=sum(map(sum, times.values())) / 1e3)
    for name, each in sorted(times.items(), key=lambda item: -sum(item[1]))[:rows]:
        print(f"  {sum(each) / 1e3:8.3f} ms {len(each):5d} x {statistics.mean(each):7.1f} us  {name}", flush=True)  # noqa: T201


def new_step(K: int, hidden_channels: int, batch_size: int) -> tuple[TrainingStep, tuple[Tensor, Tensor]]:
    """Return a training step of an initialised flow, and inputs for it."""
    use_device(DEVICE.type)
    torch.manual_seed(0)
    model = Glow(SHAPE, K, 3, hidden_channels).to(DEVICE).to(memory_format=torch.channels_last)
    x = (torch.rand(batch_size, *SHAPE, device=DEVICE) - 0.5) / 2
    model.initialize(x)
    optimizer = Adamax(model.parameters(), lr=1e-3, warmup_steps=10)
    return TrainingStep(model, optimizer, 0.0, 10), (x, torch.zeros(batch_size, device=DEVICE))


def execution_of(form: str, activations: Activations, precision: Precision, *, compiled: bool = False) -> Execution:
    """Return how a form computes. A level for which this device has no kernels takes another form."""
    kernels = None if form == "kernels" else False
    return Execution(activations, precision, compiled=compiled, products=form != "convolutions", kernels=kernels)


def levels_by_kernels(model: Glow, batch_size: int, kernel: Kernel) -> int:
    """Return how many of the model's levels this kernel computes in batches of this size."""
    execution = model.execution
    if execution is None or (kernel == "training" and execution.activations == "reversible"):
        return 0
    channels, height, width = SHAPE
    n_levels = 0
    for level in cast(list[Level], list(model.levels)):
        channels, height, width = 4 * channels, height // 2, width // 2
        x = torch.empty(1, channels, height, width, device=DEVICE).expand(batch_size, -1, -1, -1)
        n_levels += usable(execution, x, cast(list[FlowStep], list(level.steps)), kernel)
        channels //= 2
    return n_levels


def accuracy() -> None:
    """Report loss and gradients of all modes beside those of the plain layers in float64 on the CPU."""
    step, (x, logdet) = new_step(3, 32, 8)
    model = step.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))

    def loss_and_gradient(model: Glow, x: Tensor, logdet: Tensor) -> tuple[float, Tensor]:
        model.zero_grad()
        loss, _ = losses(model, x, logdet, None, 0.0)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return loss.item(), torch.cat([gradient.flatten().double().cpu() for gradient in gradients])

    plain = copy.deepcopy(model).cpu().double()
    plain.execution = None
    loss, gradient = loss_and_gradient(plain, x.cpu().double(), logdet.cpu().double())
    for activations in ACTIVATIONS:
        for precision in PRECISIONS:
            for form in FORMS:
                model.execution = execution_of(form, activations, precision)
                its_loss, its_gradient = loss_and_gradient(model, x, logdet)
                report(
                    accuracy=f"{activations} {precision} {form}",
                    bits_per_dim=its_loss - loss,
                    gradient=((its_gradient - gradient).norm() / gradient.norm()).item(),
                    levels_by_kernels=levels_by_kernels(model, len(x), "training"),
                )


def train(K: int, hidden_channels: int, batch_size: int, form: str) -> None:
    """Report the speed of training in bfloat16, compiled and captured."""
    title = f"K={K} hidden {hidden_channels}, batch {batch_size}, {form}"
    step, inputs = new_step(K, hidden_channels, batch_size)
    step.model.execution = execution_of(form, "stored", "bfloat16", compiled=not DRY_RUN)
    step.optimizer.compiled = form != "convolutions" and not DRY_RUN
    started = time.perf_counter()
    captured = step if DRY_RUN else Captured(step, *inputs)
    if not DRY_RUN:
        report(train=title, compiled_and_captured_in_s=time.perf_counter() - started)
    with alone(title):
        measured = speed(lambda: captured(*inputs), batch_size, 1.0)
        report(train=title, **measured, levels_by_kernels=levels_by_kernels(step.model, batch_size, "training"))
        kernels_of(title, lambda: captured(*inputs), 25)
        if not DRY_RUN:
            report(train=title, peak_gib=torch.cuda.max_memory_allocated() / 2**30)


def score(form: str) -> None:
    """Report the speed of scoring in float32, with the parameters folded once, and its error beside float64."""
    works = [(2, 8, (4,))] if DRY_RUN else [(8, 64, (256, 1024, 4096)), (32, 512, (256, 1024))]
    ready = []
    for K, hidden_channels, sizes in works:
        model = new_step(K, hidden_channels, 4 if DRY_RUN else 64)[0].model
        model.execution = execution_of(form, "stored", "float32")
        title = f"K={K} hidden {hidden_channels}, batch {{}}, {form}"
        ready += [(title.format(n), model, sample_images(n, DEVICE)) for n in sizes]
    with alone(f"score {form}"), torch.no_grad():
        for title, model, images in ready:
            noise = torch.rand(images.shape, device=DEVICE)
            with model.unchanging():
                measured = speed(lambda: model.log_prob(images, noise), len(images), 0.3)  # noqa: B023
                error = score_error(model, images[:8], noise[:8])
                n_levels = levels_by_kernels(model, len(images), "forward")
            report(score=title, **measured, error=error, levels_by_kernels=n_levels)


def score_error(model: Glow, images: Tensor, noise: Tensor) -> float:
    """Return the largest relative error of these images' log-probabilities beside the plain layers in float64."""
    exact = copy.deepcopy(model).cpu().double()
    exact.execution = None
    expected = exact.log_prob(images.cpu(), noise.cpu().double())
    return ((model.log_prob(images, noise).cpu() - expected) / expected).abs().max().item()


def peers() -> None:
    """Report the speed of other libraries: with torch's defaults, which round to TF32, and with autocast."""
    works = [Work(2, 3, 8, 4)] if DRY_RUN else [Work(8, 3, 64, 128), Work(32, 3, 512, 64)]
    built = []
    for name in PEERS:
        try:
            built += [(name, work, BUILD[name](work, DEVICE), sample_images(work.batch_size, DEVICE)) for work in works]
        except ModuleNotFoundError as missing:
            report(peer=name, not_measured=str(missing))
    with alone("peers"):
        for name, work, contender, images in built:
            for precision in ("TF32", "autocast to bfloat16"):
                casts = torch.autocast("cuda", torch.bfloat16) if precision != "TF32" and not DRY_RUN else nullcontext()
                with casts:
                    measured = speed(lambda: contender.train(images), work.batch_size, 0.8)  # noqa: B023
                report(
                    peer=f"{name}, {precision}",
                    work=f"K={work.K} hidden {work.hidden_channels}, batch {work.batch_size}",
                    **measured,
                )
                if precision == "TF32":
                    kernels_of(f"{name}, {work}", lambda: contender.train(images), 0)  # noqa: B023


def idle() -> None:
    """Report how long the device has nothing to do in a training, and what the host does meanwhile."""
    from idle import measured_training  # here, because it needs more packages than the other parts

    K, hidden_channels, batch_size, n_epochs, n = (2, 8, 8, 3, 64) if DRY_RUN else (8, 64, 128, 10, 54_000)
    parameters: dict[str, dict[str, object]] = {
        "model": {"K": K, "L": 3, "hidden_channels": hidden_channels},
        "train": {"batch_size": batch_size, "n_epochs": n_epochs},
    }
    for row in measured_training(DEVICE.type, parameters, n, n // 9):
        report(**row)


def table(paths: list[str]) -> None:
    """Print the lines of JSON in these files as Markdown tables, one for each kind of result."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                cells = (f"{value:,}" if isinstance(value, float) else str(value) for value in row.values())
                tables.setdefault(tuple(row), []).append(f"| {' | '.join(cells)} |")
    for columns, rows in tables.items():
        header = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        print("\n".join([*header, *rows]), end="\n\n")  # noqa: T201


def main() -> None:
    """Run the named part."""
    match sys.argv[1:]:
        case ["accuracy"]:
            accuracy()
        case ["train", K, hidden_channels, batch_size, form] if form in FORMS:
            train(int(K), int(hidden_channels), int(batch_size), form)
        case ["score", ("convolutions" | "kernels") as form]:
            score(form)
        case ["peers"]:
            peers()
        case ["idle"]:
            idle()
        case ["table", *paths] if paths:
            table(paths)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
