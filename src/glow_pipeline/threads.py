"""The number of threads to compute with on a CPU that other programs may use too.

Threads of one operation wait for each other, so where something else takes one of the cores, all of them wait for the
one on that core: with one busy process beside it, a training on two cores is faster with one thread. What is free
cannot be read anywhere, but a short measurement shows it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch

Work = Callable[[int], object]  # takes so many images of a batch through the model, and changes nothing

logger = logging.getLogger(__name__)

ONE_THREAD_PIXELS = 16384
BETTER = 1.15  # so much faster another number has to be; below that an idle machine would not be deterministic
HOPELESS = 2.0  # so much slower than the best a number is not measured again
ROUNDS = 3
MEASURED = 0.1  # seconds that one run takes at least, if the batch is large enough
ENOUGH = 3.0  # seconds of measuring after which no further round starts
WORTH_MEASURING = 10.0  # seconds that the work takes at least


def usable_cores() -> int:
    """Return the number of cores that this process may use, by affinity and by the quota of a container."""
    from joblib import cpu_count  # here: a command on small images never asks

    return int(cpu_count(only_physical_cores=False))


def most_threads() -> int:
    """Return the highest number of threads that may be chosen; torch's own number counts OMP_NUM_THREADS in."""
    most = torch.get_num_threads()
    return most if most == 1 else max(1, min(most, usable_cores()))


def alternatives(most: int) -> list[int]:
    """Return the numbers of threads to choose from: the highest, and its halves down to 1."""
    return [most] if most <= 1 else [most, *alternatives(most // 2)]


def is_small(pixels: int) -> bool:
    """Return whether batches of so many pixels are computed fastest with one thread, on an idle machine too.

    A second thread makes a step on 128 digits of 8x8 slower, and many times slower when something else wants the core
    that it waits on.

    Args:
        pixels: images a batch times height times width.
    """
    return pixels < ONE_THREAD_PIXELS


def fastest(counts: Sequence[int], seconds: Callable[[int], float]) -> int:
    """Return the first of these numbers of threads, unless another one is clearly faster.

    The numbers are measured in turn, so that a load that comes or goes meanwhile slows all of them.

    Args:
        counts: numbers of threads, in order of preference.
        seconds: measures one of them once.
    """
    times: dict[int, list[float]] = {}
    too_few = 0
    for count in counts:
        if count <= too_few:
            continue
        times[count] = [seconds(count)]
        best = min(times, key=lambda measured: times[measured][0])
        if count < best and times[count][0] > HOPELESS * times[best][0]:
            too_few = count  # and fewer are slower still
    limit = HOPELESS * min(first for (first,) in times.values())
    in_question = [count for count in times if count == counts[0] or times[count][0] <= limit]
    for _ in range(ROUNDS - 1):
        if len(in_question) == 1 or sum(map(sum, times.values())) > ENOUGH:
            break
        for count in in_question:
            times[count].append(seconds(count))
    typical = {count: median(times[count]) for count in in_question}
    return next(count for count in in_question if typical[count] <= BETTER * min(typical.values()))


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
    """Return the number of threads to do this work with, and leave the process with it.

    Args:
        work: what is measured, on a part of a batch that takes a tenth of a second.
        counts: numbers of threads, in order of preference; a single one is not measured.
        pixels: of an image.
        batch: images of a batch.
        total: images of all the work; if that takes a few seconds only, nothing is measured.
        clock: gives seconds.
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
    """Have a CPU compute without gradients, within the block, with the measured best number of threads.

    Scores have the same bits with any number of threads (docs/training.md). Of samples a grey level here and there may
    differ, so a number that is not the usual one is reported.

    Args:
        device: others than a CPU are left alone.
        work, pixels, batch, total: as `measured_choice` takes them.
        fixed: the number, if it is not to be chosen.
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
