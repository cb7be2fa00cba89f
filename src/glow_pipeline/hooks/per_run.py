"""Separate hooks for each run, however many runs one process makes, one after the other or at once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import _create_hook_manager, hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pluggy import PluginManager

from glow_pipeline.errors import GlowPipelineError

PARALLEL = ("ParallelRunner", "ThreadRunner")


@runtime_checkable
class Abandonable(Protocol):
    """A hook that holds something for its run: a lock, an MLflow run."""

    def abandon(self) -> None:
        """Let go of it, if the run was interrupted; called after any end of a run that Kedro reports to no hook."""


@dataclass(frozen=True)
class _Hooks:
    """The hooks of one run, called in the order that Kedro would call them in."""

    hooks: list[Any]
    manager: PluginManager

    def abandon(self) -> None:
        for hook in self.hooks:
            if isinstance(hook, Abandonable):
                hook.abandon()


class PerRunHooks:
    """Makes new hooks for each context, and passes the calls of a thread on to the hooks of that thread's run.

    Kedro registers the same hook objects in all sessions of a process, and `kedro server` makes several runs at once in
    one session. Kedro makes a run's context, and runs its nodes, in one thread.

    Args:
        kinds: what makes a run's hooks. Kedro calls the last one first.
    """

    def __init__(self, *kinds: Callable[[], Any]) -> None:
        self._kinds = kinds
        self._thread = threading.local()  # `prepared`: hooks of the latest context; `running`: hooks of the present run

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        hooks = [kind() for kind in self._kinds]
        manager = _create_hook_manager()
        for hook in hooks:
            manager.register(hook)
        self._thread.prepared = _Hooks(hooks, manager)
        manager.hook.after_context_created(context=context)

    @hook_impl
    def after_catalog_created(
        self,
        catalog: DataCatalog,
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
        parameters: dict[str, Any],
        save_version: str,
        load_versions: dict[str, str],
    ) -> None:
        prepared = self._prepared
        if prepared is not None:
            prepared.manager.hook.after_catalog_created(
                catalog=catalog,
                conf_catalog=conf_catalog,
                conf_creds=conf_creds,
                parameters=parameters,
                save_version=save_version,
                load_versions=load_versions,
            )

    @hook_impl(tryfirst=True)  # a command that is refused leaves no trace of another plugin either
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        self.abandon()  # a run of this thread that was interrupted, where nobody could notice
        runner = str(run_params["runner"])
        if any(name in runner for name in PARALLEL):
            raise click.ClickException(
                f"runner {runner}: its nodes run in other threads, where their MLflow run is lost; use SequentialRunner"
            )
        self._thread.running = hooks = self._prepared
        if hooks is None:
            return
        try:
            hooks.manager.hook.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)
        except BaseException:  # Kedro reports it to no hook
            self.abandon()
            raise

    @hook_impl
    def before_node_run(self, node: Node, is_async: bool) -> None:
        if is_async:
            raise GlowPipelineError(
                f"is_async=true: {node.name} saves in other threads, where its MLflow run is lost; leave is_async out"
            )

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        if (running := self._running) is not None:
            running.manager.hook.after_dataset_loaded(dataset_name=dataset_name, data=data, node=node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if (running := self._running) is not None:
            running.manager.hook.after_dataset_saved(dataset_name=dataset_name, data=data, node=node)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], run_result: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        if (running := self._running) is not None:
            running.manager.hook.after_pipeline_run(
                run_params=run_params, run_result=run_result, pipeline=pipeline, catalog=catalog
            )
            self._thread.running = None

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        if (running := self._running) is not None:
            self._thread.running = None
            running.manager.hook.on_pipeline_error(
                error=error, run_params=run_params, pipeline=pipeline, catalog=catalog
            )

    def abandon(self) -> None:
        """Let go of what this thread's run holds, if it has ended in a way that Kedro reports to no hook."""
        if (running := self._running) is not None:
            self._thread.running = None
            running.abandon()

    @property
    def _prepared(self) -> _Hooks | None:
        return getattr(self._thread, "prepared", None)

    @property
    def _running(self) -> _Hooks | None:
        return getattr(self._thread, "running", None)
