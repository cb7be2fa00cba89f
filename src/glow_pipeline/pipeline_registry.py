"""The pipelines by the names that users type."""

from importlib import import_module
from pkgutil import iter_modules

from kedro.pipeline import Pipeline

from glow_pipeline.startup import without_gc

with without_gc():  # pandas comes with these
    from glow_pipeline import pipelines
    from glow_pipeline.pipelines import benchmark, calibrate, ingest, ood, register, sample, score, search, train
    from glow_pipeline.pipelines.calibrate.pipeline import create_detector_pipeline
    from glow_pipeline.pipelines.ingest.pipeline import create_out_pipeline, create_test_pipeline

OURS = ("ingest", "train", "sample", "ood", "calibrate", "benchmark", "score", "search", "register")


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines, each with the ingest that it needs; nodes that are equal run once."""
    training = ingest.create_pipeline() + train.create_pipeline() + create_detector_pipeline()
    sampling = sample.create_pipeline()
    scoring = create_test_pipeline() + create_out_pipeline() + ood.create_pipeline()
    return {
        **_own_pipelines(),
        "ingest": ingest.create_pipeline(),
        "train": training,
        "sample": sampling,
        "ood": scoring,
        "calibrate": calibrate.create_pipeline(),
        "benchmark": create_test_pipeline() + benchmark.create_pipeline(),
        "score": score.create_pipeline(),
        "search": ingest.create_pipeline() + search.create_pipeline(),
        "register": register.create_pipeline(),
        "__default__": training + sampling + scoring,
    }


def _own_pipelines() -> dict[str, Pipeline]:
    """Return pipelines that a user put beside these (`kedro pipeline create mine`); no part of the default run."""
    modules = [import_module(f"{pipelines.__name__}.{found.name}") for found in iter_modules(pipelines.__path__)]
    own = {module.__name__.rpartition(".")[2]: getattr(module, "create_pipeline", None) for module in modules}
    return {name: create() for name, create in own.items() if create is not None and name not in OURS}
