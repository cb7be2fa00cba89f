"""The pipelines as graphs: names, tags and edges of their nodes."""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import yaml
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_viz.services.layers import sort_layers

from glow_pipeline.pipeline_registry import register_pipelines
from tests.project import ROOT

PIPELINES = register_pipelines()
NODES: dict[str, Node] = {node.name: node for pipeline in PIPELINES.values() for node in pipeline.nodes}
TAGS = {"ingest", "training", "sampling", "scoring", "calibration", "search", "serving", "report"}
CATALOG = yaml.safe_load((ROOT / "conf" / "base" / "catalog.yml").read_text())
IN_ORDER = ["raw", "primary", "model_input", "models", "detectors", "chosen_images", "model_output", "reporting"]
LAYERS = {
    name: entry["metadata"]["kedro-viz"]["layer"]
    for name, entry in CATALOG.items()
    if isinstance(entry, dict) and "metadata" in entry
}


def short(name: str) -> str:
    return name.rpartition(".")[2]


def test_node_names_are_unique_and_typable() -> None:
    assert len({short(name) for name in NODES}) == len(NODES)
    assert [name for name in NODES if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)+", name)] == []


def test_namespaces_are_the_pipelines_names() -> None:
    assert {node.namespace for node in NODES.values()} == set(PIPELINES) - {"__default__"}


def test_every_node_is_tagged_with_its_stage() -> None:
    assert {tag for node in NODES.values() for tag in node.tags} == TAGS
    assert [name for name, node in NODES.items() if not node.tags - {"report"}] == []


def test_reports_are_read_by_no_node() -> None:
    """Such an edge would make training wait for a picture."""
    reports = {output for node in NODES.values() if "report" in node.tags for output in node.outputs}
    assert [name for name, node in NODES.items() if reports & set(node.inputs)] == []


def test_pipelines_start_from_data_alone() -> None:
    """Values that are no data are parameters, which Kedro-Viz hides."""
    made = {output for node in NODES.values() for output in node.outputs}
    starts = {name for pipeline in PIPELINES.values() for name in pipeline.inputs()} - made
    assert {name for name in starts if name != "parameters" and not name.startswith("params:")} == {"raw_folder"}


def test_reporting_nodes_write_reports_only() -> None:
    written = {output for node in NODES.values() if "report" in node.tags for output in node.outputs}
    assert {LAYERS[name] for name in written} == {"reporting"}


def layers(pipeline: Pipeline) -> list[str]:
    """Return the layers that Kedro-Viz shows, from top to bottom; none if they are in a cycle."""
    nodes = {name: SimpleNamespace(layer=LAYERS.get(name)) for name in pipeline.datasets()}
    follows: dict[str, set[str]] = {name: set() for name in nodes}
    for node in pipeline.nodes:
        nodes[node.name] = SimpleNamespace(layer=None)
        follows[node.name] = set(node.outputs)
        for name in node.inputs:
            follows[name].add(node.name)
    return sort_layers(nodes, follows)


def test_all_data_has_a_layer() -> None:
    data = {name for pipeline in PIPELINES.values() for name in pipeline.datasets()} - {"parameters"}
    assert {name for name in data - set(LAYERS) if not name.startswith("params:")} == set()


def test_layers_stand_in_the_order_of_the_data() -> None:
    assert layers(PIPELINES["__default__"]) == IN_ORDER


@pytest.mark.parametrize("name", PIPELINES)
def test_layers_of_each_pipeline_are_no_cycle(name: str) -> None:
    assert layers(PIPELINES[name])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"to_nodes": ["train.train_glow"]},
            "ingest_test_images ingest_train_images build_glow split_images train_glow",
        ),
        ({"from_nodes": ["train.evaluate_glow"], "to_outputs": ["train_metrics"]}, "evaluate_glow"),
        ({"node_names": ["train.plot_training"]}, "plot_training"),
        ({"tags": ["sampling"]}, "read_real_images sample_images"),
        ({"tags": ["ingest"], "to_outputs": ["out_images"]}, "ingest_out_images"),
        (
            {"tags": ["report"]},
            "plot_dequantization plot_training plot_samples_by_epoch plot_bits_by_level plot_likelihood_extremes "
            "plot_latents plot_detection list_most_outlying",
        ),
        ({"node_namespaces": ["sample"]}, "read_real_images sample_images"),
        ({"from_inputs": ["ood_metrics"]}, "plot_detection"),
        ({"to_outputs": ["train_images"]}, "ingest_train_images"),
    ],
    ids=str,
)
def test_default_pipeline_can_be_run_in_parts(options: dict[str, list[str]], expected: str) -> None:
    chosen: Pipeline = PIPELINES["__default__"].filter(**options)
    assert {short(node.name) for node in chosen.nodes} == set(expected.split())


def rows() -> Iterator[str]:
    """The table of nodes in docs/commands.md."""
    for name in sorted(NODES, key=list(NODES).index):
        pipelines = [key for key, pipeline in PIPELINES.items() if name in {node.name for node in pipeline.nodes}]
        shown = ", ".join(f"`{key}`" for key in pipelines if key != "__default__")
        tags = ", ".join(f"`{tag}`" for tag in sorted(NODES[name].tags))
        yield f"| `{short(name)}` | {shown} | {tags} |"


def test_every_node_is_documented_with_its_tags() -> None:
    documented = (ROOT / "docs" / "commands.md").read_text().splitlines()
    assert [row for row in rows() if row not in documented] == []
