"""Choice of the number of threads on a CPU that other programs may use too.

Threads of one operation wait for each other. If another program uses one of the cores, all threads wait for the one on
that core: beside one busy process, a training on two cores is faster with one thread. The system does not report which
cores are free, but a short measurement shows it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch

Work = Callable[[int], object]  # computes on that many images of a batch, without side effects

logger = logging.getLogger(__name__)

ONE_THREAD_PIXELS = 16384
BETTER = 1.15  # least speed-up that changes the number; with less, an idle machine would not be deterministic
HOPELESS = 2.0  # a number this many times slower than the best is not measured again
ROUNDS = 3
MEASURED = 0.1  # least seconds of one run, if the batch is large enough
ENOUGH = 3.0  # seconds of measuring after which no further round starts
WORTH_MEASURING = 10.0  # least seconds of all work; shorter work is not measured


def usable_cores() -> int:
    """Return the number of cores that this process may use, within its affinity and its container's quota."""
    from joblib import cpu_count  # imported here since commands on small images do not need it

    return int(cpu_count(only_physical_cores=False))


def most_threads() -> int:
    """Return the highest number of threads to choose from; torch's own number respects OMP_NUM_THREADS."""
    most = torch.get_num_threads()
    return most if most == 1 else max(1, min(most, usable_cores()))


def alternatives(most: int) -> list[int]:
    """Return the numbers of threads to choose from: the highest, its half, and so on down to 1."""
    return [most] if most <= 1 else [most, *alternatives(most // 2)]


def is_small(pixels: int) -> bool:
    """Return whether one thread computes batches of this size fastest, on an idle machine too.

    A second thread makes a step on 128 digits of 8x8 slower, and many times slower when another program uses its core.

    Args:
        pixels: images per batch * height * width.
    """
    return pixels < ONE_THREAD_PIXELS


def fastest(counts: Sequence[int], seconds: Callable[[int], float]) -> int:
    """Return the first of these numbers of threads, unless another one is clearly faster.

    The numbers are measured in turn, so that a change of the machine's load affects all of them.

    Args:
        counts: numbers of threads, in order of preference.
        seconds: measures the work once with a number of threads.
    """
    times: dict[int, list[float]] = {}
    too_few = 0
    for count in counts:
        if count <= too_few:
            continue
        times[count] = [seconds(count)]
        best = min(times, key=lambda measured: times[measured][0])
        if count < best and times[count][0] > HOPELESS * times[best][0]:
            too_few = count  # fewer threads are slower still
    limit = HOPELESS * min(first for (first,) in times.values())
    candidates = [count for count in times if count == counts[0] or times[count][0] <= limit]
    for _ in range(ROUNDS - 1):
        if len(candidates) == 1 or sum(map(sum, times.values())) > ENOUGH:
            break
        for count in candidates:
            times[count].append(seconds(count))
    typical = {count: median(times[count]) for count in candidates}
    return next(count for count in candidates if typical[count] <= BETTER * min(typical.values()))


def measured_choice(
    work: Work,
    counts: Sequence[int],
    *,
    pixels: int,
    batch: int,
    total: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
    use: Callable[[int], None] = torch.set_num_threads,
) -> int:
    """Measure the work with each number of threads, set the process to the best one and return it.

    Args:
        work: work to measure, on a part of a batch that takes a tenth of a second.
        counts: numbers of threads, in order of preference; a single one is not measured.
        pixels: pixels per image.
        batch: images per batch.
        total: images in all; if they take a few seconds only, nothing is measured.
        clock: returns seconds.
        use: sets the number of threads.
    """
    use(counts[0])
    if len(counts) == 1:
        return counts[0]

    def seconds(images: int) -> float:
        started = clock()
        work(images)
        return clock() - started

    images = min(batch, -(-ONE_THREAD_PIXELS // pixels))
    while (took := seconds(images)) < MEASURED and images < batch:
        images = min(batch, 2 * images)
    if took * total / images < WORTH_MEASURING:
        return counts[0]

    def with_threads(count: int) -> float:
        use(count)
        return seconds(images)

    chosen = fastest(counts, with_threads)
    use(chosen)
    return chosen


@contextmanager
def chosen_threads(
    device: torch.device, work: Work, *, pixels: int, batch: int, total: int, fixed: int | None = None
) -> Iterator[None]:
    """Use the measured best number of threads inside the block, for computation without gradients on a CPU.

    Scores have the same bits with any number of threads (docs/training.md). Samples may differ by a grey level here and
    there, so another number than the usual one is logged.

    Args:
        device: nothing is done for other devices than a CPU.
        work: see `measured_choice`.
        pixels: see `measured_choice`.
        batch: see `measured_choice`.
        total: see `measured_choice`.
        fixed: number of threads to use without a measurement.
    """
    before = torch.get_num_threads()
    try:
        if device.type == "cpu":
            if fixed is None and (total == 0 or is_small(batch * pixels)):
                fixed = 1
            counts = alternatives(most_threads()) if fixed is None else [fixed]
            chosen = measured_choice(work, counts, pixels=pixels, batch=batch, total=total)
            if chosen != counts[0]:
                logger.info(
                    "Other programs use the cores: computing with %d of %d threads; train.threads=%d takes all",
                    *(chosen, counts[0], counts[0]),
                )
        yield
    finally:
        torch.set_num_threads(before)
