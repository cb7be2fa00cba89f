"""The images of a run and their format: by the parameters, or by the record of the stored model.

A run that trains follows its parameters. A run that uses a stored model follows that model's record, so that images are
prepared and split as they were for its training, whatever the defaults are by then. An interactive session (a notebook,
kedro viz) follows the stored model if there is one.
"""

from pathlib import Path
from typing import cast

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.datasets.image_table import ImageTableDataset
from glow_pipeline.datasets.image_tables import ImageTablesDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.run_values import RunValue, run_value, set_run_value
from glow_pipeline.images.format import GreyRange, ImageFormat
from glow_pipeline.images.grey_range import decide_range
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.kept_digests import KeptDigests
from glow_pipeline.images.sources.source import Split
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.named_model import first_model
from glow_pipeline.training.records import ModelRecord

TABLES = ("train_images", "test_images", "out_images", "calibrate_images")
SETS = "benchmark_images"  # several tables
RANGES_FROM: tuple[tuple[str, RunValue, Split], ...] = (
    ("train_images", "image_selection", "train"),
    ("test_images", "image_selection", "test"),
    ("out_images", "out_image_selection", "test"),
)


def choose_model(catalog: DataCatalog, parameters: Parameters) -> None:
    """Have `glow_model` load the model that the parameters name, and the images follow the stored model, if any.

    Raises:
        GlowPipelineError: a bucket refuses or does not answer, so that it is unknown which models there are.
    """
    dataset = cast(GlowModelDataset, catalog["glow_model"])
    if parameters.chosen_model is not None:
        _, model = parameters.chosen_model
        dataset.choose(model)
    there_is_one = dataset.exists()
    try:
        stored = dataset.record() if there_is_one else None
    except GlowPipelineError:  # a damaged model, which a run that needs it will report
        stored = None
    _fill(catalog, parameters, stored)


def choose_images(catalog: DataCatalog, parameters: Parameters, pipeline: Pipeline) -> None:
    """Have the images follow the parameters, unless the run uses a stored model, and say who makes their tables.

    No folder has been looked at yet.
    """
    if "glow_model" not in pipeline.inputs():
        _fill(catalog, parameters, None)
    both = {"train_images", "test_images"} <= pipeline.all_outputs()
    kept = KeptDigests(cast(Path, catalog.load("listings")), parameters.ingest.verify)
    set_run_value(catalog, "folder_looks", FolderLooks(kept))
    for name in ("train_images", "test_images"):
        cast(ImageTableDataset, catalog[name]).lists_both_splits = both
    for name in (*TABLES, SETS):
        cast(ImageTableDataset | ImageTablesDataset, catalog[name]).workers = parameters.workers.choice


def complete_range(catalog: DataCatalog, parameters: Parameters, pipeline: Pipeline) -> None:
    """Decide the grey range of images deeper than 8 bits, if this run is the first with such images.

    A training follows its training images, and only where none of these is deep the images that it is tested on.

    Raises:
        GlowPipelineError: an image cannot be read.
    """
    image_format: ImageFormat = run_value(catalog, "image_format")
    if image_format.range is not None:
        return
    found = parameters.image_format.range or _range_of_first_model(parameters, pipeline)
    for name, key, split in RANGES_FROM:
        if found is None and name in pipeline.all_outputs():
            ingest, looks = parameters.ingest, run_value(catalog, "folder_looks")
            found = decide_range(run_value(catalog, key), split, ingest.max_pixels, ingest.num_workers, looks)
    if found is not None:
        _set_image_format(catalog, image_format.model_copy(update={"range": found}))


def _range_of_first_model(parameters: Parameters, pipeline: Pipeline) -> GreyRange | None:
    """Return the range of the model that a training of a folder starts from, so that no image becomes darker to it."""
    if "glow_model" not in pipeline.all_outputs() or not parameters.image_selection.is_folder:
        return None
    start = first_model(parameters.train)
    return None if start is None else read_record(start).image_format.range


def _fill(catalog: DataCatalog, parameters: Parameters, stored: ModelRecord | None) -> None:
    image_format = parameters.image_format if stored is None else stored.image_format
    image_selection = parameters.image_selection if stored is None else _in_present_folders(stored, parameters)
    set_run_value(catalog, "image_selection", image_selection)
    set_run_value(catalog, "out_image_selection", _out_image_selection(parameters, image_selection))
    calibrate = image_selection if parameters.calibrate.path is None else parameters.calibrate_image_selection
    set_run_value(catalog, "calibrate_selection", calibrate)
    _set_image_format(catalog, image_format)


def _set_image_format(catalog: DataCatalog, image_format: ImageFormat) -> None:
    set_run_value(catalog, "image_format", image_format)
    for name in TABLES:
        cast(ImageTableDataset, catalog[name]).identify(image_format)


def _in_present_folders(stored: ModelRecord, parameters: Parameters) -> ImageSelection:
    """Return the images of a stored model, in the folders that the parameters name, if they name any."""
    image_selection = stored.train_table.image_selection
    if not image_selection.is_folder:
        return image_selection
    now = parameters.image_selection
    image_selection = image_selection.model_copy(update={"class_names": tuple(stored.train_table.class_names)})
    if now.path is not None:
        image_selection = image_selection.model_copy(update={"path": now.path})
    if now.eval_path is not None:  # all of them are for testing, whatever the share was
        image_selection = image_selection.model_copy(
            update={"eval_path": now.eval_path, "eval_percentage": None, "seed": None}
        )
    return image_selection


def _out_image_selection(parameters: Parameters, inside: ImageSelection) -> ImageSelection:
    """Return the outliers; those of the training's own folder are split as it was, so that none was trained on.

    Args:
        parameters: all parameters of the command.
        inside: the in-distribution images, in their present folders.
    """
    out, typed = parameters.out_image_selection, parameters.image_selection
    if (out.source, out.path, out.eval_path) == (typed.source, typed.path, typed.eval_path):
        return inside.model_copy(update={"classes": out.classes})
    return out.distinct_from(inside)
