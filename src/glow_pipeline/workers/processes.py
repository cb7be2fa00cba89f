"""The engine `processes`: the parts are computed on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from typing import Any, cast

from tqdm import tqdm

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers.part_work import PartWork, Seat

_taken: tuple[PartWork, Seat]  # by this process of a pool


def compute(work: PartWork, parts: Sequence[int], processes: int = 1) -> None:
    """Compute these parts here under a progress bar: in this process, or in several, each with a part at a time.

    Raises:
        GlowPipelineError: a part raised one, or a process died.
    """
    sizes = work.sizes
    with tqdm(total=sum(sizes[part] for part in parts), desc=work.title, unit="img", delay=2) as bar:
        processes = min(processes, len(parts))
        if processes <= 1:
            for done in work.run(parts, Seat()):
                bar.update(done)
            return
        context = multiprocessing.get_context("spawn")
        seats: SimpleQueue[Seat] = context.SimpleQueue()
        for index in range(processes):
            seats.put(Seat(index, processes))
        # The work is sent once to each process, which keeps what it has opened or moved to its GPU.
        with ProcessPoolExecutor(processes, context, _sit_down, (work, seats)) as pool:
            waiting = {pool.submit(_run, part): part for part in parts}
            try:
                while waiting:
                    for finished in wait(waiting, return_when=FIRST_COMPLETED).done:
                        finished.result()
                        bar.update(sizes[waiting.pop(finished)])
            except BrokenProcessPool as problem:
                raise GlowPipelineError(
                    f"{work.title}: one of {processes} processes died; if memory ran out, close other programs or "
                    f"choose fewer. Type the same command again: finished parts are kept"
                ) from problem
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _sit_down(work: PartWork, seats: "SimpleQueue[Seat]") -> None:
    global _taken  # noqa: PLW0603  # a process of the pool keeps its work and its seat
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _taken = work, seats.get()


def _end_with_parent() -> None:
    """End this process when the one that started it was killed: nobody would fetch its results."""
    cast(Any, multiprocessing.parent_process()).join()
    os.kill(os.getpid(), signal.SIGKILL)


def _run(part: int) -> None:
    work, seat = _taken
    for _ in work.run([part], seat):
        pass
