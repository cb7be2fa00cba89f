"""A work that takes no time: the square of each part's number, in a file."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers.part_work import Seat


@dataclass(frozen=True)
class Squares:
    """Writes the squares of 0 ... n - 1.

    Attributes:
        folder: of the squares; beside them `<part>.by` says the process and its seat.
        n: parts.
        refused: a part that the user has to do something about.
        killed: a part whose process is killed when it is computed for the first time.
        seconds: of each part.
        meet: the first part of each process waits until all of them have one.
    """

    folder: Path
    n: int
    refused: int | None = None
    killed: int | None = None
    seconds: float = 0.0
    meet: bool = False
    uses_gpu: bool = False
    title: str = "squares"

    @property
    def sizes(self) -> Sequence[int]:
        return [2] * self.n

    def missing(self) -> list[int]:
        return [part for part in range(self.n) if not (self.folder / str(part)).exists()]

    def run(self, parts: Sequence[int], seat: Seat) -> Iterator[int]:
        for part in parts:
            if part == self.refused:
                raise GlowPipelineError(f"part {part}: is odd; choose another")
            time.sleep(self.seconds)
            (self.folder / f"{seat.index}.of").touch()
            while self.meet and len(list(self.folder.glob("*.of"))) < seat.of:
                time.sleep(0.01)
            before = self.folder / f"{part}.killed"
            if part == self.killed and not before.exists():
                before.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (self.folder / f"{part}.by").write_text(f"{os.getpid()} {seat.index} {seat.of}")
            (self.folder / str(part)).write_text(str(part * part))
            yield 2
