"""The number of threads of a training on a CPU: chosen at its start, and again where its throughput collapses.

The last bits of a training depend on the number. So each checkpoint records it, and a resumed training takes it.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from glow_pipeline.threads import alternatives, is_small, measured_choice, most_threads
from glow_pipeline.training.step import TrainingStep

WINDOW = 5.0  # seconds of steps whose mean is compared
WINDOW_STEPS = 3  # at least
CORNER = 64  # pixels of a side that a measurement takes of larger images
COLLAPSED = 1.6  # times as long as in the best window a step takes, where it is time to measure again
PAUSE = 60.0  # seconds between two measurements at least
RETRY_MORE = 300.0  # seconds after which more threads are measured again

logger = logging.getLogger(__name__)

Step = Callable[..., Tensor]


class ThroughputWatch:
    """Decides by the time of each step when the number of threads is to be measured again.

    Args:
        clock: returns seconds.
        unsure: measure after a pause in any case.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, unsure: bool = False) -> None:
        self._clock = clock
        self.restart(unsure=unsure)

    def restart(self, *, unsure: bool = False) -> None:
        """Start again, after a measurement."""
        self._measured_at = self._clock()
        self._best, self._collapsed = math.inf, unsure
        self._seconds, self._steps = 0.0, 0

    def add(self, seconds: float) -> None:
        """Add the time of a step."""
        self._seconds += seconds
        self._steps += 1
        if self._seconds >= WINDOW and self._steps >= WINDOW_STEPS:
            mean = self._seconds / self._steps
            self._best = min(self._best, mean)
            self._collapsed = self._collapsed or mean > COLLAPSED * self._best
            self._seconds, self._steps = 0.0, 0

    def due(self, *, could_be_more: bool) -> bool:
        """Return whether to measure now.

        Args:
            could_be_more: fewer threads than possible are used, because of a load that may have gone.
        """
        since = self._clock() - self._measured_at
        return (self._collapsed and since >= PAUSE) or (could_be_more and since >= RETRY_MORE)


class TrainingThreads:
    """The number of threads of a training in one process on a CPU.

    Args:
        number: number of threads to start with.
        counts: the numbers to choose from, highest first; a single one is never measured.
        resumed: start with `number` without a measurement.
        clock: returns seconds.
    """

    def __init__(
        self,
        number: int,
        counts: list[int],
        *,
        resumed: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.number, self.counts, self.clock = number, counts, clock
        self._resumed = resumed
        # A first measurement may have met a moment's load. A resumed training keeps its number, and so its bits.
        self._watch = ThroughputWatch(clock, unsure=not resumed)

    @classmethod
    def for_training(cls, *, fixed: int | None, recorded: int | None, pixels: int, measured: bool) -> "TrainingThreads":
        """Return the threads of a training.

        Args:
            fixed: `train.threads`.
            recorded: the number in the checkpoint that it resumes from.
            pixels: images a batch times height times width.
            measured: whether one may be chosen; several processes share the cores evenly, a GPU needs few of them.
        """
        if fixed is not None:
            return cls(fixed, [fixed])
        if is_small(pixels):
            return cls(1, [1])
        if not measured:
            return cls(torch.get_num_threads(), [torch.get_num_threads()])
        counts = alternatives(most := most_threads())
        if recorded is not None and recorded <= most:
            return cls(recorded, counts if len(counts) > 1 else [recorded], resumed=True)
        return cls(most, counts)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Have the process compute with this number of threads within the block."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.number)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def choose_at_start(self, step: TrainingStep, example: Callable[[], tuple[Tensor, ...]], steps: int) -> None:
        """Measure and choose, unless the training is resumed or the number is fixed.

        Args:
            step: the training step.
            example: gives inputs of the step.
            steps: all steps of the training.
        """
        if len(self.counts) > 1 and not self._resumed:
            inputs = example()
            self._choose(step, inputs, steps * len(inputs[0]))
            self._watch.restart(unsure=True)

    def watched(self, step: TrainingStep, on_change: Callable[[], None]) -> Step:
        """Return the step, before which the number is chosen again where throughput has collapsed.

        Args:
            step: the training step.
            on_change: called after another number was chosen, between two steps.
        """
        return step if len(self.counts) == 1 else WatchedStep(self, step, on_change)

    def choose_again(self, step: TrainingStep, inputs: tuple[Tensor, ...]) -> bool:
        """Measure and choose if throughput has collapsed; return whether the number has changed.

        Args:
            step: the training step.
            inputs: inputs of the next step.
        """
        return self._watch.due(could_be_more=self.number < self.counts[0]) and self._choose(step, inputs)

    def add(self, seconds: float) -> None:
        """Add the time of a step."""
        self._watch.add(seconds)

    def _choose(self, step: TrainingStep, inputs: tuple[Tensor, ...], total: float = math.inf) -> bool:
        """Measure and choose; return whether the number has changed."""
        before = self.number
        counts = [before, *(count for count in self.counts if count != before)]
        corner = _corner(inputs[0], 2 ** len(step.model.levels))
        total *= inputs[0][0].numel() / corner[0].numel()

        def work(images: int) -> None:
            step.gradients_alone(corner[:images], *(tensor[:images] for tensor in inputs[1:]))

        self.number = measured_choice(
            work,
            counts,
            pixels=corner.shape[2] * corner.shape[3],
            batch=len(inputs[0]) // step.accumulate,
            total=total,
            clock=self.clock,
        )
        self._watch.restart()
        if self.number == before:
            return False
        logger.info(
            "%s of %s threads from here on, as measured: something else uses this machine%s (train.threads fixes it).",
            self.number,
            self.counts[0],
            " no longer" if self.number > before else "",
        )
        return True


class WatchedStep:
    """A training step whose throughput is watched.

    Args:
        threads: the number of threads, chosen again where throughput collapses.
        step: the training step.
        on_change: called after another number was chosen, between two steps.
    """

    def __init__(self, threads: TrainingThreads, step: TrainingStep, on_change: Callable[[], None]) -> None:
        self._threads, self._step, self._on_change = threads, step, on_change

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._threads.choose_again(self._step, inputs):
            self._on_change()
        started = self._threads.clock()
        bits_per_dim = self._step(*inputs)
        self._threads.add(self._threads.clock() - started)
        return bits_per_dim


def _corner(images: Tensor, divisor: int) -> Tensor:
    """Return a corner of images (B, C, H, W) whose sides the divisor divides: of large ones, one would take seconds."""
    side = max(divisor, CORNER // divisor * divisor)
    return images[:, :, :side, :side]
