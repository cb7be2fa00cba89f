"""Parts as tasks of a cluster: a bounded number of them is under way, and those of lost workers are computed again."""

import logging
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers.part_work import PartWork

AHEAD = 2  # tasks for each worker: the next one waits there when one is finished, and a cluster that can grow does
RETRIES = 3  # for each part

Task = TypeVar("Task", bound=Hashable)

logger = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """A worker died, or its machine, while it computed a part."""


class Tasks(Protocol[Task]):
    """The tasks of one work on a cluster."""

    def slots(self) -> int:
        """Return how many tasks the cluster computes at once; it may grow and shrink."""
        ...

    def submit(self, part: int) -> Task:
        """Have this part computed."""
        ...

    def finished(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Wait until some of these tasks have ended, in whatever way, and return them."""
        ...

    def check(self, task: Task) -> None:
        """Check how a task has ended.

        Raises:
            WorkerLostError: its worker died.
            GlowPipelineError: the user has to change something.
        """
        ...

    def cancel(self, tasks: Sequence[Task]) -> None:
        """End these tasks."""
        ...


def compute_in_window(work: PartWork, parts: Sequence[int], tasks: Tasks[Task]) -> None:
    """Compute these parts on a cluster under a progress bar.

    Raises:
        GlowPipelineError: a part raised one, or lost its worker more than `RETRIES` times.
    """
    sizes, to_do, lost = work.sizes, deque(parts), Counter[int]()
    under_way: dict[Task, int] = {}
    with tqdm(total=sum(sizes[part] for part in parts), desc=work.title, unit="img", delay=2) as bar:
        try:
            while to_do or under_way:
                room = AHEAD * max(1, tasks.slots()) - len(under_way)
                for part in [to_do.popleft() for _ in range(min(room, len(to_do)))]:
                    under_way[tasks.submit(part)] = part
                for task in tasks.finished([*under_way]):
                    part = under_way.pop(task)
                    try:
                        tasks.check(task)
                    except WorkerLostError as problem:
                        lost[part] += 1
                        _check_retries(work, part, lost[part], problem)
                        to_do.appendleft(part)
                    else:
                        bar.update(sizes[part])
        finally:
            tasks.cancel([*under_way])
    if lost:
        logger.info(
            "%s: %d times a worker was lost, and its part was computed again by another", work.title, lost.total()
        )


def _check_retries(work: PartWork, part: int, times: int, problem: WorkerLostError) -> None:
    """Log that a worker was lost; refuse a part that always loses its worker."""
    if times > RETRIES:
        raise GlowPipelineError(
            f"{work.title}: part {part} has lost its worker {times} times ({problem}); if memory ran out there, lower "
            f"workers.part_images or the batch size. Type the same command again: finished parts are kept"
        ) from problem
    logger.warning("%s: the worker of part %d was lost (%s); the part is computed again", work.title, part, problem)
