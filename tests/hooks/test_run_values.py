"""Values of a run, which nodes take like parameters."""

from typing import get_args

import yaml
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline

from glow_pipeline.datasets import FolderDataset
from glow_pipeline.hooks.run_values import (
    PREFIX,
    RunValue,
    reads_run_value,
    run_value,
    set_run_value,
    set_working_folders,
    working_folders,
)
from glow_pipeline.pipeline_registry import register_pipelines
from tests.project import ROOT

PIPELINE = Pipeline([Node(max, ["params:run.training", "params:run.checkpoints"], "best", name="choose_best")])


def test_node_gets_the_object_itself() -> None:
    catalog, value = DataCatalog(), object()
    set_run_value(catalog, "training", value)
    assert run_value(catalog, "training") is catalog.load("params:run.training") is value


def test_later_value_replaces_the_earlier() -> None:
    catalog = DataCatalog()
    for value in (1, 2):
        set_run_value(catalog, "training", value)
    assert run_value(catalog, "training") == 2


def test_pipeline_names_the_values_it_reads() -> None:
    assert reads_run_value(PIPELINE, "training")
    assert not reads_run_value(PIPELINE, "provenance")


def test_working_folders_come_from_the_catalog() -> None:
    folder = FolderDataset(filepath="/somewhere/checkpoints")
    catalog = DataCatalog({"checkpoints": folder})
    assert working_folders(PIPELINE) == {"checkpoints"}
    set_working_folders(catalog, PIPELINE)
    assert catalog.load("params:run.checkpoints") == folder.load()


def test_every_value_is_known_or_a_folder() -> None:
    catalog = yaml.safe_load((ROOT / "conf" / "base" / "catalog.yml").read_text())
    kinds = (".FolderDataset", ".StoreDataset")
    folders = {name for name, entry in catalog.items() if "type" in entry and entry["type"].endswith(kinds)}
    nodes = [node for pipeline in register_pipelines().values() for node in pipeline.nodes]
    read = {name.removeprefix(PREFIX) for node in nodes for name in node.inputs if name.startswith(PREFIX)}
    assert read - folders == set(get_args(RunValue))
