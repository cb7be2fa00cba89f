"""What is typed beside the parameters, and what Kedro by itself would answer with pages of traceback or in silence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import nearest


def check_typed(context: KedroContext) -> None:
    """The environment and the pipelines are there, and the nodes will run one after the other in the main thread.

    Raises:
        GlowPipelineError: the first thing that is wrong.
    """
    conf = Path(context.config_loader.conf_source)
    if context.env is not None and not (conf / context.env).is_dir():
        there = sorted(path.name for path in conf.iterdir() if path.is_dir()) if conf.is_dir() else []
        raise GlowPipelineError(f"--env {context.env!r}: no such folder in {conf}; {nearest(context.env, there)}")
    typed = _typed()
    for name in [*(typed.get("pipelines") or []), *filter(None, [typed.get("pipeline")])]:
        if name not in pipelines:
            pipelines.set_requested(None)
            raise GlowPipelineError(f"--pipelines {name}: no such pipeline; {nearest(name, sorted(pipelines))}")
    # MLflow's active run is a thread's, and only the main thread can be asked to stop.
    if typed.get("is_async") or (typed.get("runner_params") or {}).get("is_async"):
        raise GlowPipelineError("--async: nodes save in other threads, and their MLflow run is lost; leave it out")
    runner = typed.get("runner")
    if runner is not None and runner.rpartition(".")[2] in ("ParallelRunner", "ThreadRunner"):
        raise GlowPipelineError(
            f"--runner {runner}: only one node here has much to do, and its MLflow run is lost in another thread or "
            f"process; leave it out, train.devices and ingest.num_workers use all there is"
        )


def check_load_versions(load_versions: Mapping[str, str] | None, pipeline: Pipeline) -> None:
    """No version is given of what the command makes itself.

    Raises:
        GlowPipelineError: one is; the old version would be read where the new one is meant.
    """
    for name, version in (load_versions or {}).items():
        if name in pipeline.all_outputs():
            raise GlowPipelineError(
                f"--load-versions {name}:{version}: this command makes a new {name} itself; choose pipelines that only "
                f"read it (--pipelines ood, --pipelines sample), or leave the version out"
            )


def _typed() -> Mapping[str, Any]:
    """The options of `kedro run`, if that is what runs."""
    context = click.get_current_context(silent=True)
    return {} if context is None else context.params
