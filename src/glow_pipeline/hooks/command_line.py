"""Options of `kedro run` beside the parameters: what Kedro answers with pages of traceback, or in silence."""

from collections.abc import Iterable, Mapping
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import nearest

NODE_OPTIONS = {"node_names": "--nodes", "from_nodes": "--from-nodes", "to_nodes": "--to-nodes"}
DATASET_OPTIONS = {"from_inputs": "--from-inputs", "to_outputs": "--to-outputs"}


def check_options(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Check the options that choose what runs, and how.

    Returns:
        The options that name nodes, by the nodes' full names: `train_glow` is `train.train_glow`.

    Raises:
        GlowPipelineError: the first thing that is wrong, with the nearest name that is known.
    """
    if options.get("pipeline") and options.get("pipelines"):
        raise GlowPipelineError("--pipeline and --pipelines: type one of them; several are --pipelines ingest,train")
    _check_runner(options)
    names = [*(options.get("pipelines") or []), *filter(None, [options.get("pipeline")])]
    pipelines.set_requested(names or None)
    for name in names:
        if name not in pipelines:
            pipelines.set_requested(None)
            raise GlowPipelineError(f"--pipelines {name}: no such pipeline; {nearest(name, sorted(pipelines))}")
    pipeline = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    if not pipeline.nodes:
        raise GlowPipelineError(f"--pipelines {','.join(names)}: has no nodes yet")
    full = {option: _nodes(flag, options.get(option) or [], pipeline) for option, flag in NODE_OPTIONS.items()}
    _check_selection({**options, **full}, pipeline)
    return full


def _check_runner(options: Mapping[str, Any]) -> None:
    """Check that the nodes will run one after the other in the main thread."""
    # MLflow's active run is a thread's, and only the main thread can be asked to stop.
    if options.get("is_async") or (options.get("runner_params") or {}).get("is_async"):
        raise GlowPipelineError("--async: nodes save in other threads, and their MLflow run is lost; leave it out")
    runner = options.get("runner")
    if runner is None:
        return
    if runner.rpartition(".")[2] in ("ParallelRunner", "ThreadRunner"):
        raise GlowPipelineError(
            f"--runner {runner}: only one node here has much to do, and its MLflow run is lost in another thread or "
            f"process; leave it out, train.devices and ingest.num_workers use all there is"
        )
    try:
        load_obj(runner, "kedro.runner")
    except (ImportError, AttributeError, ValueError):
        raise GlowPipelineError(f"--runner {runner}: no such runner; {nearest(runner, ['SequentialRunner'])}") from None


def _nodes(flag: str, typed: Iterable[str], pipeline: Pipeline) -> list[str]:
    """Return the full names of the nodes that were typed by their full or short names."""
    full = sorted(node.name for node in pipeline.nodes)
    by_short_name = {name.rpartition(".")[2]: name for name in full}
    names = [name if name in full else by_short_name.get(name) for name in typed]
    for name, found in zip(typed, names, strict=True):
        if found is None:
            like = nearest(name.rpartition(".")[2], sorted(by_short_name))
            raise GlowPipelineError(f"{flag} {name}: no such node in what runs; {like}")
    return [name for name in names if name is not None]


def _check_selection(options: Mapping[str, Any], pipeline: Pipeline) -> None:
    """Check that names of datasets, tags and namespaces are known, and that a node remains."""
    datasets = sorted(name for name in pipeline.datasets() if not name.startswith("params:"))
    tags = sorted({tag for node in pipeline.nodes for tag in node.tags})
    namespaces = sorted({node.namespace for node in pipeline.nodes if node.namespace})
    for flag, kind, typed, known in (
        *((flag, "dataset", options.get(option), datasets) for option, flag in DATASET_OPTIONS.items()),
        ("--tags", "tag", options.get("tags"), tags),
        ("--namespaces", "namespace", options.get("namespaces"), namespaces),
    ):
        for name in typed or []:
            if name not in known:
                like = nearest(name, known) if known else "no node has one; choose by --nodes or --namespaces"
                raise GlowPipelineError(f"{flag} {name}: no such {kind} in what runs; {like}")
    try:
        pipeline.filter(
            tags=options.get("tags"),
            from_nodes=options.get("from_nodes"),
            to_nodes=options.get("to_nodes"),
            node_names=options.get("node_names"),
            from_inputs=options.get("from_inputs"),
            to_outputs=options.get("to_outputs"),
            node_namespaces=options.get("namespaces"),
        )
    except ValueError:
        raise GlowPipelineError(
            "no node is in all of what was typed; leave out one of the options that choose nodes"
        ) from None


def check_version_names(context: KedroContext) -> None:
    """Check that the datasets of `--load-versions` are known and have versions.

    Raises:
        GlowPipelineError: one is not.
    """
    command = click.get_current_context(silent=True)
    typed = {} if command is None else command.params.get("load_versions") or {}
    if not typed:
        return
    entries = context.config_loader["catalog"]
    versioned = sorted(name for name, entry in entries.items() if isinstance(entry, dict) and entry.get("versioned"))
    for name, version in typed.items():
        if name not in versioned:
            kind = "has no versions" if name in entries else "no such dataset"
            raise GlowPipelineError(f"--load-versions {name}:{version}: {kind}; {nearest(name, versioned)}")


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


def check_inputs(pipeline: Pipeline, catalog: DataCatalog, load_versions: Mapping[str, str] | None) -> None:
    """Check that what the chosen nodes read is stored, where the node that makes it is not among them.

    Raises:
        GlowPipelineError: it is not; the line names the node to add.
    """
    makers = {output: node.name for each in pipelines.values() for node in each.nodes for output in node.outputs}
    made = sorted(pipeline.inputs() & set(makers) - {"glow_model"})
    for name in made:
        if name not in catalog or isinstance(catalog[name], MemoryDataset):
            raise GlowPipelineError(f"{name}: is made by the node {makers[name]} and not stored; let that run too")
    for name in made:
        if not catalog.exists(name):
            version = (load_versions or {}).get(name)
            what = "is not stored yet" if version is None else f"no version {version}"
            raise GlowPipelineError(f"{name}: {what}; let the node {makers[name]} run too, which makes it")
