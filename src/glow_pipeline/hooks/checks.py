"""Checks of a run before it starts: nothing is downloaded, recorded or written for a run that they refuse.

Kedro by itself accepts an unknown `--params` key in silence, and shows any exception but click's own as pages of
traceback.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.device import resolve_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.attribute_check import check_attribute_of_folder
from glow_pipeline.hooks.available_images import check_available
from glow_pipeline.hooks.benchmark_checks import check_benchmark
from glow_pipeline.hooks.catalog_entries import check_entries
from glow_pipeline.hooks.command_line import check_inputs, check_load_versions
from glow_pipeline.hooks.missing_outputs import nodes_to_run, report_skipped
from glow_pipeline.hooks.other_models import check_models_of_scores
from glow_pipeline.hooks.permissions import check_writable
from glow_pipeline.hooks.run_values import run_value, working_folders
from glow_pipeline.hooks.shared_work import check_shared_work
from glow_pipeline.hooks.stored_model import check_class, check_stored_model
from glow_pipeline.hooks.training_checks import check_folder_classes, check_training, num_classes_of
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import check_apart, with_class_names
from glow_pipeline.images.sources.folder_listing import FolderLooks
from glow_pipeline.images.sources.source import Split
from glow_pipeline.parameters import Parameters
from glow_pipeline.sampling import MODES
from glow_pipeline.search.space import extremes
from glow_pipeline.training.distributed.machines import n_processes
from glow_pipeline.training.named_checkpoint import check_resume
from glow_pipeline.training.shipped_models import shipped_name
from glow_pipeline.verdict.listing import check_listed

SPLITS: tuple[Split, ...] = ("train", "test")


def check_run(parameters: Parameters, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Check everything about a run that can be known before it starts.

    Args:
        parameters: all parameters of the command.
        run_params: Kedro's record of the command.
        pipeline: the nodes that were chosen.
        catalog: the catalog, with the images that `image_choice` has chosen.

    Raises:
        GlowPipelineError: one line about the first thing that is wrong.
    """
    outputs, uses_model = pipeline.all_outputs(), "glow_model" in pipeline.inputs()
    check_entries(catalog, {*pipeline.datasets(), *working_folders(pipeline), "raw_folder", "checkpoints"}, outputs)
    check_load_versions(run_params["load_versions"], pipeline)
    report_skipped(run_params, pipeline, catalog)
    check_inputs(pipeline, catalog, run_params["load_versions"])
    check_writable(pipeline, catalog)
    device = resolve_device(parameters.device)
    check_shared_work(parameters.workers, nodes_to_run(run_params, pipeline, catalog), catalog)
    trainings = list(_trainings(parameters, pipeline))
    for training in trainings:
        check_training(training, device)
    if "untrained_glow" in outputs:
        check_resume(parameters)
    if uses_model:
        check_stored_model(cast(GlowModelDataset, catalog["glow_model"]), parameters, run_params)
    else:
        _check_names_no_model(parameters)
    if {"in_scores", "scored_pairs", "file_scores"} & outputs:
        n_processes(parameters.ood.devices, device, "ood.devices")
    if "other_models" in outputs:
        check_models_of_scores(catalog, parameters, run_params["env"], uses_model)
    _check_images(parameters, trainings, pipeline, catalog)
    if "samples" in outputs and not uses_model:
        looks = run_value(catalog, "folder_looks")
        num_classes = parameters.model.num_classes or num_classes_of(parameters, looks)
        check_class(parameters, parameters.model.y_condition, num_classes)


def _trainings(parameters: Parameters, pipeline: Pipeline) -> Iterator[Parameters]:
    """Yield the parameters of all trainings of this run, of a search those at the ends of its ranges."""
    if "untrained_glow" in pipeline.all_outputs():
        yield parameters
    if "search_results" in pipeline.all_outputs():
        for name, value in (("nodes", 1), ("resume", "auto")):
            if getattr(parameters.train, name) != value:
                raise GlowPipelineError(
                    f"train.{name}={getattr(parameters.train, name)}: trials of a search train on one machine each and "
                    f"resume by themselves; leave it at {value} (several commands may share one search)"
                )
        yield from extremes(parameters)


def _check_names_no_model(parameters: Parameters) -> None:
    if parameters.stored_model is None:
        return
    if (name := shipped_name(Path(parameters.stored_model))) is not None:
        raise GlowPipelineError(
            f"model={name}: this command uses no stored model; leave it out (to start a training from it, type "
            f"train.checkpoint={name})"
        )
    raise GlowPipelineError(
        f"stored_model={parameters.stored_model}: this command uses no stored model; leave it out (to start a "
        f"training from one, set train.checkpoint to its file)"
    )


def _check_images(
    parameters: Parameters, trainings: list[Parameters], pipeline: Pipeline, catalog: DataCatalog
) -> None:
    """Check that the images are available, that test and training images differ, and that outliers are others."""
    raw = catalog.load("raw_folder")
    selection: ImageSelection = run_value(catalog, "image_selection")
    out: ImageSelection = run_value(catalog, "out_image_selection")
    looks: FolderLooks = run_value(catalog, "folder_looks")
    if splits := _splits(pipeline, parameters):
        check_available(selection, splits, raw, "ingest.path", "ingest.eval_path")
        if "train" in splits:
            check_apart(selection)
            for training in trainings:
                check_folder_classes(training, looks)
        selection = with_class_names(selection, "ingest.classes", looks)
    if "real_images" in pipeline.all_outputs():
        check_attribute_of_folder(parameters, selection, looks)
    _check_calibrate_images(parameters, selection, pipeline, raw)
    _check_listed_images(parameters, pipeline)
    if "out_images" in pipeline.all_outputs():
        check_available(parameters.out_image_selection, ["test"], raw, "ood.out_path", "ood.out_path")
        if "glow_model" not in pipeline.inputs():
            out = parameters.out_image_selection
        _check_two_datasets(out, selection, looks)
    if "benchmark_images" in pipeline.all_outputs():
        check_benchmark(parameters, selection, catalog)


def _check_calibrate_images(parameters: Parameters, selection: ImageSelection, pipeline: Pipeline, raw: Path) -> None:
    """Check that the images of the pipeline calibrate are available, and that no other pipeline gets its folder."""
    path = parameters.calibrate.path
    if "calibrate_images" not in pipeline.all_outputs():
        if path is not None:
            raise GlowPipelineError(
                f"calibrate.path={path}: this command makes no detector from a folder; leave it out, or add "
                f"--pipelines calibrate"
            )
    elif path is None:
        check_available(selection, ["train"], raw, "ingest.path", "ingest.eval_path")
    else:
        check_available(parameters.calibrate_image_selection, ["test"], raw, "calibrate.path", "calibrate.path")


def _check_listed_images(parameters: Parameters, pipeline: Pipeline) -> None:
    """Check that there are files to judge where the command judges some, and that no other command gets them."""
    score = parameters.score
    if "listed_files" in pipeline.all_outputs():
        check_listed(score.images)
    elif "file_scores" not in pipeline.datasets():
        for name, value in (("images", score.images), ("model", score.model)):
            if value is not None:
                raise GlowPipelineError(
                    f"score.{name}={value}: this command judges no files; leave it out, or add --pipelines score"
                )


def _splits(pipeline: Pipeline, parameters: Parameters) -> list[Split]:
    """Return the splits of `dataset` whose images the run reads."""
    splits = [split for split in SPLITS if f"{split}_images" in pipeline.all_outputs()]
    if "real_images" in pipeline.all_outputs():
        mode = MODES[parameters.sample.mode]
        used: dict[Split, bool] = {"train": mode.uses_training_images, "test": mode.least_test_images > 0}
        splits += [split for split in SPLITS if used.get(split) and split not in splits]
    return splits


def _check_two_datasets(out: ImageSelection, image_selection: ImageSelection, looks: FolderLooks) -> None:
    """Check that no image is both an outlier and in-distribution."""
    if with_class_names(out, "ood.out_classes", looks).overlaps(image_selection):
        raise GlowPipelineError(
            f"out_dataset={out.key}: its images are among those of dataset={image_selection.key}; choose another "
            f"out_dataset, or set ingest.classes and ood.out_classes apart"
        )
