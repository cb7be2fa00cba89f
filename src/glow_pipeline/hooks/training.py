"""The training that a run resumes or starts."""

from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.missing_outputs import nodes_to_run
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.distributed.machines import machine_rank
from glow_pipeline.training.resume import Training, claim_training


class TrainingHook:
    """Puts `training` into the catalog, and the MLflow run in which it began.

    A node could not: the MLflow run is started before any node. And a training is over only when it has run and the
    whole command has ended: the same command, typed again after a death in the evaluation, resumes there.
    """

    def __init__(self) -> None:
        self._claimed: Training | None = None
        self._has_trained = False

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self._release()  # a run of this process that was interrupted and never ended
        if "training" not in nodes_to_run(run_params, pipeline, catalog).inputs():
            return
        parameters = Parameters.model_validate(catalog.load("parameters"))
        if machine_rank(parameters.train.nodes) > 0:
            catalog.save("training", Training(None))
            return
        root = cast(Path, catalog.load("checkpoints"))
        try:
            self._claimed = claim_training(parameters, root, run_params["run_id"])
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None
        catalog.save("training", self._claimed)
        if self._claimed.mlflow_run_id is not None:
            catalog.save("resumed_mlflow_run", self._claimed.mlflow_run_id)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self._has_trained |= dataset_name == "glow_model"

    @hook_impl
    def after_pipeline_run(self) -> None:
        if self._has_trained and self._claimed is not None and self._claimed.folder is not None:
            self._claimed.folder.finish()
        self._release()

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        self._release()

    def abandon(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._claimed is not None and self._claimed.folder is not None:
            self._claimed.folder.release()
        self._claimed, self._has_trained = None, False
