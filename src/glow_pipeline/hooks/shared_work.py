"""The work of a run that `workers.engine` shares, and the rest of the run, which one command has to do."""

from collections.abc import Set

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.image_choice import SETS, TABLES
from glow_pipeline.parameters import WorkersParameters
from glow_pipeline.workers.engines import check_engine

SCORES = frozenset({"in_scores", "scored_pairs", "file_scores"})
SHARED = frozenset({*TABLES, SETS, *SCORES})
NAMED_FIRST = ("glow_model", "search_results", "glow_detector")


def check_shared_work(workers: WorkersParameters, pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Check before any work that an engine can be used here, and for this run.

    With `array` one of the commands continues when all scores are computed, and makes what follows from them. Whatever
    else a run stores each of the commands would make: a model, a detector, samples, the figures of a second pipeline.

    Raises:
        GlowPipelineError: it is unknown which of the commands this is, each of them would make something of its own, or
            Ray is not installed.
    """
    outputs = pipeline.all_outputs()
    if not SHARED & outputs:
        return
    check_engine(workers.engine, workers.of)
    if workers.engine != "array":
        return
    scored = sorted(SCORES & outputs)[:1]
    by_one = pipeline.from_inputs(*scored).all_outputs() if scored else set()
    by_each = {name for name in outputs - by_one - SHARED if isinstance(catalog.get(name), AbstractVersionedDataset)}
    if by_each:
        name = next((name for name in NAMED_FIRST if name in by_each), min(by_each))
        raise GlowPipelineError(
            f"workers.engine=array: each of the commands would make a {name} of its own; let them share the tables "
            f"alone, by --tags ingest, and then make it with workers.engine=processes"
        )


def last_shared(workers: WorkersParameters, pipeline: Pipeline) -> Set[str]:
    """Return the outputs whose completion ends the shared part of a run of several commands; none if it has none.

    These are its scores, or in a run without scores its tables.
    """
    shared = SHARED & pipeline.all_outputs() if workers.engine == "array" else set()
    return (shared & SCORES) or shared
