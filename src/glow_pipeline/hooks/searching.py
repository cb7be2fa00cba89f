"""The study of a search, opened before anything starts."""

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters


class SearchingHook:
    """Puts `search_study` into the catalog, and `resumed_mlflow_run`: the MLflow run of this search's first command."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._project = context.project_path

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        if "search_study" not in pipeline.inputs():
            return
        from glow_pipeline.search.study import mlflow_run_of, open_study  # here, because it takes a third of a second

        try:
            study = open_study(Parameters.model_validate(catalog.load("parameters")), self._project)
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None
        catalog.save("search_study", study)
        if "search_results" in pipeline.all_outputs() and (run_id := mlflow_run_of(study)) is not None:
            catalog.save("resumed_mlflow_run", run_id)
