"""The engine `array`: the same command is typed several times, on one machine or on many, and each does its share.

For whatever starts copies of a command: a Slurm array, an Indexed Job of Kubernetes, mapped tasks of Airflow, three
workstations. They share a disk or a bucket, need not run at the same time, and do not talk to each other.
"""

import logging
from collections.abc import Sequence

from glow_pipeline.errors import HelperFinished
from glow_pipeline.launchers import COMMANDS, place_of
from glow_pipeline.stores import Store
from glow_pipeline.workers.part_work import PartWork
from glow_pipeline.workers.processes import compute

NAMED_AT_MOST = 10

logger = logging.getLogger(__name__)


def place(of: int | None) -> tuple[int, int]:
    """Return the index of this command and the number of those that share the work.

    Raises:
        GlowPipelineError: neither the launcher nor the user says so.
    """
    return place_of(COMMANDS, of, "workers.of")


def compute_share(work: PartWork, of: int | None, processes: int = 1) -> None:
    """Compute the missing parts of this command's share: every `of`-th part, from its index on."""
    index, of = place(of)
    compute(work, [part for part in work.missing() if part % of == index], processes)


def describe_help(work: PartWork, of: int | None) -> str:
    """Return a line on a command whose share is stored while parts of others are missing."""
    index, of = place(of)
    share = list(range(index, len(work.sizes), of))
    stored = f"its share ({_named(share)} of {len(work.sizes)}) of {work.title} is stored"
    return (
        f"This machine has helped: {stored}; missing: {_named(work.missing())}. The same command on the others, or "
        f"here with their number, makes them; who sees the last one continues"
    )


def let_one_continue(claims: Store, key: str, title: str, of: int | None) -> None:
    """Let one of the commands that share a work do what follows, when all parts are stored.

    It is the first that comes here, and whenever they are typed again the one with its number. So a command that is
    killed does what is left when it is typed again, and no other one waits for it or does the same.

    Args:
        claims: a store of all commands that share the work.
        key: a digest of the work.
        title: of the work, for a person.
        of: commands that share it.

    Raises:
        HelperFinished: another command continues.
    """
    index, of = place(of)
    first = claims.claim(f"continues-{key}-of-{of}", str(index))
    if first != str(index):
        logger.info(
            "This machine has helped: all parts of %s are stored, and the command with the number %s of 0 to %d "
            "continues. If that one has ended too early, type it again, here or elsewhere, with its number",
            *(title, first, of - 1),
        )
        raise HelperFinished


def _named(parts: Sequence[int]) -> str:
    if not parts:
        return "no part"
    more = f" and {len(parts) - NAMED_AT_MOST} more" if len(parts) > NAMED_AT_MOST else ""
    return f"part{'s' * (len(parts) > 1)} {', '.join(map(str, parts[:NAMED_AT_MOST]))}{more}"
