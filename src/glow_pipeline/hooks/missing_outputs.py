"""The nodes that `kedro run --only-missing-outputs` leaves out."""

import logging
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

NAMED_AT_MOST = 5

logger = logging.getLogger(__name__)


def nodes_to_run(run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> Pipeline:
    """Return the part of the pipeline that Kedro's runner will run.

    `--only-missing-outputs` excludes nodes whose outputs exist in any version. Kedro decides this after all hooks and
    has no public function for it.
    """
    if not run_params["only_missing_outputs"]:
        return pipeline
    return SequentialRunner()._filter_pipeline_for_missing_outputs(pipeline, catalog)


def report_skipped(run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Warn of the nodes that `--only-missing-outputs` leaves out, since it compares no parameters."""
    run = {node.name for node in nodes_to_run(run_params, pipeline, catalog).nodes}
    skipped = [node.name for node in pipeline.nodes if node.name not in run]
    if not skipped:
        return
    named = "all nodes" if not run else ", ".join(skipped[:NAMED_AT_MOST])
    more = f" and {len(skipped) - NAMED_AT_MOST} more" if run and len(skipped) > NAMED_AT_MOST else ""
    logger.warning(
        "--only-missing-outputs: not run, as some version of their outputs exists, perhaps of other parameters: %s%s",
        named,
        more,
    )
