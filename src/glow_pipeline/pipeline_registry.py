"""The pipelines by the names that users type."""

from pkgutil import iter_modules

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from glow_pipeline.garbage import no_garbage_here

with no_garbage_here():  # pandas comes with these
    from glow_pipeline import pipelines
    from glow_pipeline.pipelines import ingest, ood, sample, search, train
    from glow_pipeline.pipelines.ingest.pipeline import create_out_pipeline, create_test_pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline brings the ingest that it needs, so that one command is enough; equal nodes run once."""
    training = ingest.create_pipeline() + train.create_pipeline()
    sampling = sample.create_pipeline()
    scoring = create_test_pipeline() + create_out_pipeline() + ood.create_pipeline()
    return {
        **_own_pipelines(),
        "ingest": ingest.create_pipeline(),
        "train": training,
        "sample": sampling,
        "ood": scoring,
        "search": ingest.create_pipeline() + search.create_pipeline(),
        "__default__": training + sampling + scoring,
    }


def _own_pipelines() -> dict[str, Pipeline]:
    """Pipelines that a user put beside these, as `kedro pipeline create mine` does; no part of the default run."""
    ours = ("ingest", "train", "sample", "ood", "search")
    names = [module.name for module in iter_modules(pipelines.__path__) if module.name not in ours]
    found = find_pipelines(raise_errors=True, pipelines_to_find=names) if names else {}
    return {name: pipeline for name, pipeline in found.items() if name != "__default__"}
