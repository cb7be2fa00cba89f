"""Everything that happens around the nodes of one run, in its order."""

import os
from collections.abc import Set
from contextlib import ExitStack
from inspect import get_annotations
from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from glow_pipeline.config_loader import ConfigLoader
from glow_pipeline.errors import stop_in
from glow_pipeline.hooks.catalog_entries import check_entries
from glow_pipeline.hooks.checks import check_run
from glow_pipeline.hooks.closing import ClosingReport
from glow_pipeline.hooks.command_line import check_version_names
from glow_pipeline.hooks.image_choice import TABLES, choose_images, choose_model, complete_range
from glow_pipeline.hooks.key_figures import KeyFigures
from glow_pipeline.hooks.missing_outputs import nodes_to_run
from glow_pipeline.hooks.model_card import record_on_card
from glow_pipeline.hooks.one_line import errors_in_one_line, line_of
from glow_pipeline.hooks.provenance import provenance_of
from glow_pipeline.hooks.repeating_command import command_line
from glow_pipeline.hooks.run_values import reads_run_value, run_value, set_run_value, set_working_folders
from glow_pipeline.hooks.shared_work import last_shared
from glow_pipeline.hooks.stored_detector import choose_detector
from glow_pipeline.hooks.tracking import Tracker, tracked
from glow_pipeline.hooks.training_checks import with_batches_of_all
from glow_pipeline.hooks.training_claim import TrainingClaim
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.parameters import Parameters
from glow_pipeline.signals import ExitOnSignals
from glow_pipeline.tracking.destination import TrackingConfig, destination
from glow_pipeline.tracking.start import open_experiment


class RunHook:
    """The hook of one run. `PerRunHooks` makes one for each run and passes Kedro's calls on to it.

    The end of the run undoes in reverse what `before_pipeline_run` has started, however the run ends.
    """

    def __init__(self) -> None:
        self._closing = ClosingReport()
        self._undo = ExitStack()
        self._training: TrainingClaim | None = None
        self._looks: FolderLooks | None = None
        self._tracker: Tracker | None = None
        self._shared: Set[str] = frozenset()  # not complete yet; then the MLflow run starts
        self._loaded: dict[str, Any] = {}  # before that

    def after_context_created(self, context: KedroContext) -> None:
        self._project = context.project_path
        with errors_in_one_line():
            self._parameters = cast(ConfigLoader, context.config_loader).checked_parameters
            check_version_names(context)
            self._mlflow = TrackingConfig.parse(context.config_loader["mlflow"])
        self._closing.after_context_created(context)

    def after_catalog_created(self, catalog: DataCatalog) -> None:
        with errors_in_one_line():
            check_entries(catalog, ["glow_model", "glow_detector", "listings", *TABLES])
            choose_model(catalog, self._parameters)

    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self._figures = KeyFigures()
        self._closing.before_pipeline_run(self._figures)
        self._exit_on_signals()
        with errors_in_one_line():
            self._parameters = with_batches_of_all(self._parameters, pipeline)
            choose_images(catalog, self._parameters, pipeline)
            check_run(self._parameters, run_params, pipeline, catalog)
            set_working_folders(catalog, pipeline)
            choose_detector(catalog, self._parameters, run_params, pipeline)
            complete_range(catalog, self._parameters, pipeline)
            self._looks = cast(FolderLooks, run_value(catalog, "folder_looks"))
            training_run = self._claim_training(run_params, pipeline, catalog)
            search_run = self._open_study(pipeline, catalog)
            self._start_tracking(run_params, pipeline, catalog, resumed_run_id=search_run or training_run)

    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> dict[str, Any]:
        """Hand the checked parameters to a node that takes `parameters` as `Parameters`; others get Kedro's mapping.

        What was found in folders is dropped when nodes begin that need none of it: hours of training may follow.
        """
        if self._looks is not None and not any(value is self._looks for value in inputs.values()):
            self._looks.forget()
        return {"parameters": self._parameters} if "parameters" in inputs and _takes_checked(node) else {}

    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        self._closing.after_dataset_loaded(dataset_name, data)
        if self._tracker is not None:
            self._tracker.record_loaded(dataset_name, data)
        elif self._shared:
            self._loaded[dataset_name] = data

    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        self._closing.after_dataset_saved(dataset_name, data)
        self._figures.add(dataset_name, data)
        if self._training is not None and dataset_name == "glow_model":
            self._training.trained = True
        if dataset_name in self._shared and getattr(self._catalog[dataset_name], "pending", None) is None:
            self._shared -= {dataset_name}
            if not self._shared:
                self._record_from_here()
        if self._tracker is not None:
            self._tracker.record_saved(dataset_name, data)
        card = record_on_card(dataset_name, data, self._catalog, self._parameters, self._provenance)
        if card is not None and self._tracker is not None:
            self._tracker.record_card(card)

    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        pages = None if self._tracker is None else self._tracker.pages
        self._end(None)
        self._closing.after_pipeline_run(catalog, pages)

    def on_pipeline_error(self, error: Exception) -> None:
        """End a run that an error has ended.

        Raises:
            SystemExit: a training has stopped as requested, or this command has only helped others; with the exit code
                of the command.
            ClickException: the user can fix the error; its line is shown, without a traceback.
        """
        stopped = stop_in(error)
        self._end(stopped or error)
        if stopped is not None:
            raise SystemExit(stopped.exit_code) from None
        if (line := line_of(error)) is not None:
            raise click.ClickException(line) from None

    def abandon(self) -> None:
        """End a run that was interrupted, which Kedro reports to no hook."""
        self._end(KeyboardInterrupt())

    def _end(self, error: BaseException | None) -> None:
        """Undo everything that was started for the run; `error` is what ended it, None for success."""
        self._training = self._tracker = None
        if error is None:
            self._undo.close()
        else:
            self._undo.__exit__(type(error), error, error.__traceback__)

    def _exit_on_signals(self) -> None:
        signals = ExitOnSignals()
        signals.install()
        self._undo.callback(signals.restore)

    def _claim_training(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> str | None:
        """Claim the training of the run, if it has one, and return the MLflow run in which that started."""
        if not reads_run_value(nodes_to_run(run_params, pipeline, catalog), "training"):
            return None
        checkpoints = cast(Path, catalog.load("checkpoints"))
        claim = TrainingClaim.claim(self._parameters, checkpoints, run_params["run_id"])
        self._training = self._undo.enter_context(claim)
        set_run_value(catalog, "training", claim.training)
        return claim.training.mlflow_run_id

    def _open_study(self, pipeline: Pipeline, catalog: DataCatalog) -> str | None:
        """Open the study of a search, if the run has one, and return the MLflow run of its first command."""
        if not reads_run_value(pipeline, "search_study"):
            return None
        from glow_pipeline.search.study import mlflow_run_of, open_study  # here, because it takes a third of a second

        study = open_study(self._parameters, self._project)
        set_run_value(catalog, "search_study", study)
        return mlflow_run_of(study) if "search_results" in pipeline.all_outputs() else None

    def _start_tracking(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog, resumed_run_id: str | None
    ) -> None:
        """Start or resume the MLflow run, and save the run's provenance.

        A command that only helps others has none. With `workers.engine=array` that shows late: the run starts when the
        shared work is complete.
        """
        self._provenance = provenance_of(run_params["run_id"], self._project, command_line(run_params))
        self._catalog = catalog
        set_run_value(catalog, "provenance", self._provenance)
        if not self._mlflow.enabled or (self._training is not None and self._training.only_helps):
            return
        place = destination(self._mlflow, self._project, os.environ)
        self._run = tracked(
            place, run_params, self._parameters, pipeline, catalog, self._provenance, resumed_run_id, self._figures
        )
        self._shared = last_shared(self._parameters.workers, nodes_to_run(run_params, pipeline, catalog))
        if self._shared:
            open_experiment(place)  # so that one that does not answer is noticed now
        else:
            self._record_from_here()

    def _record_from_here(self) -> None:
        """Start the MLflow run, and record in it what was loaded before."""
        self._tracker = self._undo.enter_context(self._run)
        run_id = self._tracker.run.address.run_id
        self._provenance = self._provenance.model_copy(update={"mlflow_run_id": run_id})
        set_run_value(self._catalog, "provenance", self._provenance)
        for name, data in self._loaded.items():
            self._tracker.record_loaded(name, data)
        self._loaded.clear()


def _takes_checked(node: Node) -> bool:
    """Return whether an argument of the node's function is annotated as `Parameters`, also by name as a text."""
    hints = get_annotations(node.func)
    return any(hint in (Parameters, Parameters.__name__) for name, hint in hints.items() if name != "return")
