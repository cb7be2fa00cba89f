"""Checks of the options of `kedro run` other than --params.

Kedro answers errors in them with pages of traceback, or ignores them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.utils import load_obj

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import nearest

NODE_OPTIONS = {"node_names": "--nodes", "from_nodes": "--from-nodes", "to_nodes": "--to-nodes"}
DATASET_OPTIONS = {"from_inputs": "--from-inputs", "to_outputs": "--to-outputs"}


def check_options(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Check the options that choose nodes and the runner.

    Returns:
        The options that name nodes, with full names: `train.train_glow` where `train_glow` was typed.

    Raises:
        GlowPipelineError: an option is wrong; names the first such option and the nearest known name.
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
    if "calibrate" in names and {"train", "__default__"} & set(names):
        raise GlowPipelineError(
            f"--pipelines {','.join(names)}: a training makes the detector of its model already; leave calibrate out, "
            f"or type it in a command of its own"
        )
    pipeline = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    if not pipeline.nodes:
        raise GlowPipelineError(f"--pipelines {','.join(names)}: has no nodes yet")
    full = {option: _full_names(flag, options.get(option) or [], pipeline) for option, flag in NODE_OPTIONS.items()}
    _check_selection({**options, **full}, pipeline)
    return full


def _check_runner(options: Mapping[str, Any]) -> None:
    """Check that the nodes will run one after the other in the main thread."""
    # MLflow's active run is a thread's, and only the main thread receives the signals that stop it.
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


def short_name(node: str) -> str:
    """Return a node's name without its namespace."""
    return node.rpartition(".")[2]


def _full_names(flag: str, typed: Iterable[str], pipeline: Pipeline) -> list[str]:
    """Return the full names of nodes that were typed with or without their namespace."""
    full_names = {short_name(node.name): node.name for node in pipeline.nodes}
    full_names |= {node.name: node.name for node in pipeline.nodes}
    for name in typed:
        if name not in full_names:
            like = nearest(short_name(name), sorted(map(short_name, full_names.values())))
            raise GlowPipelineError(f"{flag} {name}: no such node in what runs; {like}")
    return [full_names[name] for name in typed]


def _check_selection(options: Mapping[str, Any], pipeline: Pipeline) -> None:
    """Check that the typed datasets, tags and namespaces are known and that they leave a node to run."""
    datasets = sorted(name for name in pipeline.datasets() if not name.startswith("params:"))
    tags = sorted({tag for node in pipeline.nodes for tag in node.tags})
    namespaces = sorted({node.namespace for node in pipeline.nodes if node.namespace})
    for flag, kind, typed, known in (
        *((flag, "dataset", options.get(option), datasets) for option, flag in DATASET_OPTIONS.items()),
        ("--tags", "tag", options.get("tags"), tags),
        ("--namespaces", "namespace", options.get("namespaces"), namespaces),
    ):
        for name in typed or []:
            is_parameter = kind == "dataset" and name in pipeline.datasets()
            if name not in known and not is_parameter:
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
    """Check that the datasets of --load-versions are known and versioned.

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
    """Check that --load-versions names nothing that this command makes itself.

    Raises:
        GlowPipelineError: it does; Kedro would read the old version in place of the new one.
    """
    for name, version in (load_versions or {}).items():
        if name in pipeline.all_outputs():
            raise GlowPipelineError(
                f"--load-versions {name}:{version}: this command makes a new {name} itself; choose pipelines that only "
                f"read it (--pipelines ood, --pipelines sample), or leave the version out"
            )


def check_inputs(pipeline: Pipeline, catalog: DataCatalog, load_versions: Mapping[str, str] | None) -> None:
    """Check that everything the chosen nodes read is stored, or made by one of them.

    Raises:
        GlowPipelineError: it is not; names all nodes that have to run as well.
    """
    versions = load_versions or {}
    makers = {output: node for each in pipelines.values() for node in each.nodes for output in node.outputs}
    # A stored model and its detector have checks of their own (hooks/stored_model.py, hooks/stored_detector.py).
    made = pipeline.inputs() & set(makers) - {"glow_model", "glow_detector"}
    missing = sorted(name for name in made if not _is_stored(name, catalog))
    if not missing:
        return
    absent = [f"no version {versions[name]} of {name}" for name in missing if name in versions]
    unstored = [name for name in missing if name not in versions]
    if unstored:
        absent.append(f"{_listed(unstored)} {'is' if len(unstored) == 1 else 'are'} not stored")
    nodes = _nodes_to_add(missing, makers, catalog)
    raise GlowPipelineError(
        f"{'; '.join(absent)}; let {_listed(nodes)} run too, which {'makes' if len(nodes) == 1 else 'make'} "
        f"{'it' if len(missing) == 1 else 'them'}"
    )


def _nodes_to_add(missing: Iterable[str], makers: Mapping[str, Node], catalog: DataCatalog) -> list[str]:
    """Return the short names of the nodes that make these datasets from what is stored, in the order of need."""
    nodes: dict[str, None] = {}
    for name in missing:
        maker = makers[name]
        needed = [each for each in maker.inputs if each in makers and not _is_stored(each, catalog)]
        nodes |= dict.fromkeys([*_nodes_to_add(needed, makers, catalog), short_name(maker.name)])
    return list(nodes)


def _is_stored(name: str, catalog: DataCatalog) -> bool:
    return name in catalog and not isinstance(catalog[name], MemoryDataset) and catalog.exists(name)


def _listed(names: Sequence[str]) -> str:
    """Join names as in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
