"""The engines by the name that a user types for `workers.engine`. Adding one is a file and a line here."""

from collections.abc import Callable

from glow_pipeline.workers.array import compute_share, place
from glow_pipeline.workers.part_work import PartWork
from glow_pipeline.workers.processes import compute

# (work, workers.of, processes on this machine) -> None, when this command has done what it can.
Engine = Callable[[PartWork, int | None, int], None]


def _here(work: PartWork, _of: int | None, processes: int) -> None:
    compute(work, work.missing(), processes)


def _on_ray(work: PartWork, _of: int | None, _processes: int) -> None:
    from glow_pipeline.workers.ray_cluster import compute_on_ray  # Ray's engine alone needs it

    compute_on_ray(work, work.missing())


ENGINES: dict[str, Engine] = {"processes": _here, "array": compute_share, "ray": _on_ray}


def check_engine(engine: str, of: int | None) -> None:
    """Check before any work that an engine can be used here.

    Args:
        engine: a name in `ENGINES`.
        of: commands that share a work; for the engine `array`.

    Raises:
        GlowPipelineError: it is unknown which of the commands this is, or Ray is not installed.
    """
    if engine == "array":
        place(of)
    elif engine == "ray":
        from glow_pipeline.workers.ray_cluster import check_installed

        check_installed()


def finish(work: PartWork, engine: str, of: int | None = None, processes: int = 1) -> bool:
    """Compute parts that nobody has stored yet; return whether all are stored now.

    Args:
        work: the work.
        engine: a name in `ENGINES`.
        of: commands that share it; for the engine `array`.
        processes: processes on this machine.
    """
    if work.missing():
        ENGINES[engine](work, of, processes)
    return not work.missing()
