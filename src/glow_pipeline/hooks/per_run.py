"""A separate hook for each run, however many runs one process makes, one after the other or at once."""

import threading
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.run import RunHook

PARALLEL = ("ParallelRunner", "ThreadRunner")


class PerRunHooks:
    """A maker of a hook for each context, which gets the calls of the thread of that context's run.

    Kedro registers the same hook objects in all sessions of a process, and `kedro server` makes several runs at once in
    one session. Kedro makes a run's context, and runs its nodes, in one thread.

    Args:
        make_hook: makes the hook of a run.
    """

    def __init__(self, make_hook: Callable[[], RunHook]) -> None:
        self._make_hook = make_hook
        self._thread = threading.local()  # `prepared`: hook of the latest context; `running`: hook of the present run

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        self._thread.prepared = hook = self._make_hook()
        hook.after_context_created(context)

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        if (prepared := self._prepared) is not None:
            prepared.after_catalog_created(catalog)

    @hook_impl(tryfirst=True)  # a command that is refused leaves no trace of another plugin either
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self.abandon()  # a run of this thread that was interrupted, where nobody could notice
        runner = str(run_params["runner"])
        if any(name in runner for name in PARALLEL):
            raise click.ClickException(
                f"runner {runner}: its nodes run in other threads, where their MLflow run is lost; use SequentialRunner"
            )
        self._thread.running = hook = self._prepared
        if hook is None:
            return
        try:
            hook.before_pipeline_run(run_params, pipeline, catalog)
        except BaseException:  # Kedro reports it to no hook
            self.abandon()
            raise

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any], is_async: bool) -> dict[str, Any] | None:
        if is_async:
            raise GlowPipelineError(
                f"is_async=true: {node.name} saves in other threads, where its MLflow run is lost; leave is_async out"
            )
        return None if (running := self._running) is None else running.before_node_run(node, inputs)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        if (running := self._running) is not None:
            running.after_dataset_loaded(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if (running := self._running) is not None:
            running.after_dataset_saved(dataset_name, data)

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        if (running := self._running) is not None:
            running.after_pipeline_run(catalog)
            self._thread.running = None

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        if (running := self._running) is not None:
            self._thread.running = None
            running.on_pipeline_error(error)

    def abandon(self) -> None:
        """End what this thread's run has started, if the run has ended in a way that Kedro reports to no hook."""
        if (running := self._running) is not None:
            self._thread.running = None
            running.abandon()

    @property
    def _prepared(self) -> RunHook | None:
        return getattr(self._thread, "prepared", None)

    @property
    def _running(self) -> RunHook | None:
        return getattr(self._thread, "running", None)
