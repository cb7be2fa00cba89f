"""Speed, start-up and memory compared with public libraries, on the same work: `make bench`.

Each implementation runs in its own process, as its user would run it, and single calls alternate, so that other work on
the machine slows all of them alike; the results are ratios to normflows. All are trained by Adamax with one learning
rate, on the same batches. Prints one table for each work, see --work.

    PEERS=<folder of checkouts> python benchmarks/speed.py --harness <file> --peers <name>,<name>
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from math import isnan, nan
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from contenders import (
    HARNESS_LEVELS,
    MEASURE,
    OURS,
    Build,
    CannotError,
    Contender,
    Work,
    builds_for,
    builds_of_harness,
    sample_images,
)
from torch import Tensor

from glow_pipeline.device import describe_device, resolve_device

GPU_WORKS = {"small": Work(8, 3, 64, 128), "large": Work(32, 3, 512, 64)}
CPU_WORKS = {"small": Work(8, 3, 64, 64), "large": Work(16, 3, 256, 16)}


class Farewell(NamedTuple):
    """The last message of a contender's process."""

    peak_memory: int  # bytes: of the process, imports included, or on a GPU
    remarks: list[str]


class Row(NamedTuple):
    """The measurements of a contender. Seconds of one round have the same index in all rows."""

    seconds: dict[str, list[float]]  # by task; NaN if it cannot do it
    parameters: int
    kept: int  # bytes
    peak_memory: int  # bytes
    remarks: list[str]


def saved_bytes(contender: Contender, batch: Tensor) -> int:
    """Return the bytes that autograd keeps between the passes for a batch, minus those for one image.

    Each storage counts once.
    """

    def kept(images: Tensor) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = contender.loss(images)
        del result
        return sum(storages.values())

    return kept(batch) - kept(batch[:1])


def tasks_of(contender: Contender) -> dict[str, Callable[[Tensor], object]]:
    """Return the timed tasks, each on a batch of images: a training step, scoring them, drawing as many."""

    @torch.no_grad()
    def score(batch: Tensor) -> object:
        return contender.score(batch)

    @torch.no_grad()
    def sample(batch: Tensor) -> object:
        return contender.sample(len(batch))

    return {"train": contender.train, "score": score, "sample": sample}


def serve(pipe: Connection, build: Build, work: Work, device_name: str) -> None:
    """Run a contender's process: make the first training step, then answer requests."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    device = resolve_device(device_name)
    batches = sample_images(4 * work.batch_size, device).split(work.batch_size)
    contender = build(work, device)
    tasks = tasks_of(contender)
    tasks["train"](batches[0])
    _synchronize(device)
    pipe.send(sum(p.numel() for p in contender.model.parameters() if p.requires_grad))
    cannot: dict[str, str] = {}
    while True:
        try:
            task, number = pipe.recv()
        except EOFError:  # the parent has ended
            return
        if task == "kept":
            pipe.send(saved_bytes(contender, batches[0]))
        elif task == "end":
            pipe.send(_farewell(contender, batches[0], cannot))
            return
        else:
            _synchronize(device)
            started = time.perf_counter()
            try:
                tasks[task](batches[number % len(batches)])
                _synchronize(device)
                pipe.send(time.perf_counter() - started)
            except CannotError as why:
                cannot[task] = str(why)
                pipe.send(nan)


def _farewell(contender: Contender, batch: Tensor, cannot: dict[str, str]) -> Farewell:
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.cuda.max_memory_allocated(batch.device) if batch.device.type == "cuda" else of_process
    remarks = [contender.note] if contender.note else []
    remarks += [f"cannot {task} ({why})" for task, why in cannot.items()]
    with torch.no_grad():
        if not contender.loss(batch).isfinite():
            remarks.append("its loss was not finite after the training")
    return Farewell(peak, remarks)


class Process:
    """A contender in its own process, as its user would run it; idle between requests."""

    def __init__(self, name: str, build: Build, work: Work, device: str) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, build, work, device), daemon=True)
        started = time.perf_counter()
        self._process.start()
        other.close()  # so that the end of the process closes the pipe
        self.parameters: int = self._receive()
        self.start_up = time.perf_counter() - started  # seconds until the first training step was done

    def request(self, task: str, number: int = 0) -> Any:
        """Return the seconds of one call; for "kept" bytes; for "end" a farewell."""
        self._pipe.send((task, number))
        return self._receive()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            sys.exit(f"the process of {self.name} has failed; its error is above")


def start(
    builds: dict[str, Build], work: Work, device: str, rounds: int
) -> tuple[list[Process], dict[str, list[float]]]:
    """Start all contenders in sequence in each round; return the last processes and the seconds of each start."""
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    processes: list[Process] = []
    for _ in range(rounds):
        for process in processes:
            process.stop()
        processes = []
        for name, build in builds.items():
            processes.append(Process(name, build, work, device))
            seconds[name].append(processes[-1].start_up)
    return processes, seconds


def alternate(processes: list[Process], task: str, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of single calls, alternating, for about `seconds` in all."""
    took: dict[str, list[float]] = {process.name: [] for process in processes}
    deadline, round_ = time.perf_counter() + seconds, 0
    while time.perf_counter() < deadline or round_ < 8:
        for process in processes:
            one = process.request(task, round_)
            if round_ >= 3:  # the first calls warm caches up
                took[process.name].append(one)
        round_ += 1
    return took


def measure(builds: dict[str, Build], work: Work, options: argparse.Namespace) -> dict[str, Row]:
    """Measure all contenders and return a row for each."""
    processes, starts = start(builds, work, options.device, options.starts)
    kept = {process.name: process.request("kept") for process in processes}
    columns = {
        "start-up": starts,
        "train": alternate(processes, "train", options.seconds),
        "score": alternate(processes, "score", options.seconds / 3),
        "sample": alternate(processes, "sample", options.seconds / 3),
    }
    rows = {}
    for process in processes:
        peak_memory, remarks = process.request("end")
        seconds = {task: took[process.name] for task, took in columns.items()}
        rows[process.name] = Row(seconds, process.parameters, kept[process.name], peak_memory, remarks)
    return rows


def table(rows: dict[str, Row], work: Work, device: torch.device, notes: list[str]) -> str:
    """Return the rows as Markdown, with absolute speeds only for a GPU: those of a CPU hardly apply to another."""
    rounds = ", ".join(f"{task} {len(took)}" for task, took in rows[MEASURE].seconds.items())
    on = describe_device(device, threads=torch.get_num_threads())
    lines = [f"{work}, {on}, torch {torch.__version__}, rounds: {rounds}"]
    if device.type == "cuda":
        of_ours = {task: statistics.median(took) for task, took in rows[OURS].seconds.items() if task != "start-up"}
        speeds = (f"{task} {work.batch_size / seconds:,.0f}" for task, seconds in of_ours.items())
        lines[0] += f"; {OURS}, images/s: {', '.join(speeds)}; other libraries convolve in TF32, torch's default"
    header = ("implementation", "parameters", *rows[MEASURE].seconds, "kept activations", "peak memory")
    lines += ["", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, row in rows.items():
        cells = [name, f"{row.parameters:,}", *(_ratio(row, rows[MEASURE], task) for task in row.seconds)]
        cells += [f"{row.kept / rows[MEASURE].kept:.3f}", f"{row.peak_memory / 2**20:,.0f} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"To {MEASURE}: start-up in seconds, less is better; train, score and sample in speed, more is better.",
    ]
    unequal = [f"{name}: {', '.join(row.remarks)}" for name, row in rows.items() if row.remarks]
    lines.append(f"The work is not quite equal. {'; '.join([*unequal, *notes])}.")
    return "\n".join(lines)


def _ratio(row: Row, measure: Row, task: str) -> str:
    """Return the median of the rounds' ratios: of seconds for the start-up, of speed for the others."""
    pairs = list(zip(row.seconds[task], measure.seconds[task], strict=True))
    if any(isnan(theirs) for theirs, _ in pairs):
        return "-"
    slowness = [theirs / its for theirs, its in pairs]
    return f"{statistics.median(slowness if task == 'start-up' else [1 / ratio for ratio in slowness]):.2f}"


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def works_of(options: argparse.Namespace, device: torch.device) -> list[Work]:
    """Return the presets for the device, overridden by the options, each work once."""
    presets = GPU_WORKS if device.type == "cuda" else CPU_WORKS
    given = {field: value for field in Work._fields if (value := getattr(options, field)) is not None}
    return list(dict.fromkeys(presets[name]._replace(**given) for name in options.work))


def main() -> None:
    """Measure and print a table for each work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=CPU_WORKS, default=list(CPU_WORKS), help="one table for each")
    for field in Work._fields:
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, help="overrides the work's")
    parser.add_argument(
        "--seconds", type=float, default=60, help="duration of training for a table; score and sample take a third"
    )
    parser.add_argument("--starts", type=int, default=3, help="number of starts of each for a table")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--harness", type=Path, help="a file with more contenders, see contenders.from_harness")
    parser.add_argument("--peers", default="", help="names in the harness, separated by commas")
    parser.add_argument("--note", action="append", default=[], help="a further note on unequal work under the tables")
    options = parser.parse_args()
    device = resolve_device(options.device)
    works = works_of(options, device)
    builds = builds_for(device)
    if bool(options.harness) != bool(options.peers):
        parser.error("--harness and --peers go together")
    if options.harness:
        if any(work.L != HARNESS_LEVELS for work in works):
            parser.error(f"a harness builds L={HARNESS_LEVELS}")
        try:
            builds |= builds_of_harness(options.harness, options.peers.split(","))
        except ValueError as error:
            parser.error(str(error))
    for work in works:
        print(table(measure(builds, work, options), work, device, options.note), end="\n\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
