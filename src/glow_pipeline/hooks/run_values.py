"""Values that a node needs of its run and that are no data: which images, their format, the provenance, its folders.

A node takes such a value as `params:run.<name>`. It is a parameter that the run itself gives, and so Kedro-Viz hides it
together with the other parameters, where an entry of the catalog would be drawn as data.
"""

from pathlib import Path
from typing import Any, Literal, cast, get_args

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

PREFIX = "params:run."

RunValue = Literal[
    "image_selection",  # the in-distribution images
    "out_image_selection",  # the outliers
    "calibrate_selection",  # the images that a detector is made with
    "folder_looks",  # what this command and earlier ones have found in folders of images
    "image_format",  # shape, bits and fit: by the parameters, or by the record of the stored model
    "provenance",  # session, MLflow run, commit, versions
    "training",  # the folder of its checkpoints, and the checkpoint to resume from
    "search_study",  # the trials in their database
]


def set_run_value(catalog: DataCatalog, name: RunValue, value: object) -> None:
    """Set a value of this run; nodes get the object itself and no copy."""
    _set(catalog, name, value)


def run_value(catalog: DataCatalog, name: RunValue) -> Any:
    """Return a value of this run that was set before."""
    return catalog.load(PREFIX + name)


def reads_run_value(pipeline: Pipeline, name: RunValue) -> bool:
    """Return whether a node of the pipeline takes this value."""
    return PREFIX + name in pipeline.inputs()


def working_folders(pipeline: Pipeline) -> set[str]:
    """Return the entries of the catalog whose folders nodes of the pipeline take as values of the run."""
    names = {name.removeprefix(PREFIX) for name in pipeline.inputs() if name.startswith(PREFIX)}
    return names - set(get_args(RunValue))


def set_working_folders(catalog: DataCatalog, pipeline: Pipeline) -> None:
    """Hand the folders that catalog.yml names to the nodes that work in them."""
    for name in working_folders(pipeline):
        _set(catalog, name, cast(Path, catalog.load(name)))


def _set(catalog: DataCatalog, name: str, value: object) -> None:
    if PREFIX + name not in catalog:
        catalog[PREFIX + name] = MemoryDataset(copy_mode="assign")
    catalog.save(PREFIX + name, value)
