"""Work in parts that do not depend on each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Seat:
    """The place of a process among those of one machine that share a work.

    Attributes:
        index: 0 ... of - 1; with GPUs that of the process's own.
        of: processes on this machine; 1: it has all cores of the machine, and may start processes of its own.
    """

    index: int = 0
    of: int = 1


class PartWork(Protocol):
    """Work in parts, numbered from 0. It is sent to other processes and machines, so it must pickle.

    A part is a pure function of the work and its number: two processes that compute the same one store the same
    bytes. It counts as done when it is stored, whoever has stored it; a process that dies loses only the parts that it
    had under way.
    """

    @property
    def title(self) -> str:
        """What is done to what, for the progress bar: `ingest mnist train`."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Number of images of each part."""
        ...

    @property
    def uses_gpu(self) -> bool:
        """Whether a part is computed on a GPU, so that each process at work needs one."""
        ...

    def missing(self) -> list[int]:
        """Return the numbers of the parts that nobody has stored yet, in order."""
        ...

    def run(self, parts: Sequence[int], seat: Seat) -> Iterator[int]:
        """Compute and store these parts, in order; yield the number of images whenever some more are done.

        Raises:
            GlowPipelineError: the user has to change something.
        """
        ...
