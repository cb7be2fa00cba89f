"""Everything that can be known to be wrong before a run starts, and one line for what goes wrong later."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import torch
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.device import resolve_device, resolve_precision
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.catalog_entries import check_entries
from glow_pipeline.hooks.command_line import check_inputs, check_load_versions, check_version_names
from glow_pipeline.hooks.images import TABLES
from glow_pipeline.hooks.missing_outputs import report_skipped
from glow_pipeline.hooks.permissions import check_writable, not_permitted
from glow_pipeline.hooks.stored_model import check_class, check_stored_model
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.folder import check_apart, check_folder, n_classes, with_class_names
from glow_pipeline.images.sources.registry import FOLDER, source_of
from glow_pipeline.images.sources.source import Split
from glow_pipeline.memory import check_weights
from glow_pipeline.parameters import Parameters, check_num_classes, parse_parameters
from glow_pipeline.sampling import MODES
from glow_pipeline.search.space import extremes
from glow_pipeline.training.distributed.machines import machine_rank, meeting_point, n_processes
from glow_pipeline.training.job import check_knows_classes
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.resume import check_resume

SPLITS: tuple[Split, ...] = ("train", "test")


class EarlyChecksHook:
    """Ends a run with one line, before a download, an MLflow run or a file.

    Kedro by itself accepts an unknown `--params` key in silence, and shows any exception but click's
    own as pages of traceback.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        try:
            parse_parameters(context.config_loader["parameters"])
            check_version_names(context)
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(tryfirst=True)
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        try:
            check_entries(catalog, ["glow_model", *TABLES])  # which another hook will use
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        parameters = Parameters.model_validate(catalog.load("parameters"))
        try:
            check_entries(catalog, {*pipeline.datasets(), "raw_folder", "checkpoints"}, pipeline.all_outputs())
            check_load_versions(run_params["load_versions"], pipeline)
            report_skipped(run_params, pipeline, catalog)
            check_inputs(pipeline, catalog, run_params["load_versions"])
            check_writable(pipeline, catalog)
            device = resolve_device(parameters.device)
            trainings = list(_trainings(parameters, pipeline))
            for training in trainings:
                resolve_precision(training.train.precision, device)
                _check_processes(training, device)
                _check_weights(training)
                if training.train.checkpoint is not None:
                    _check_checkpoint(Path(training.train.checkpoint), training)
            if "untrained_glow" in pipeline.all_outputs():
                check_resume(parameters)
            raw = catalog.load("raw_folder")
            if "glow_model" in pipeline.inputs():
                check_stored_model(cast(GlowModelDataset, catalog["glow_model"]), parameters, run_params)
                image_selection = cast(ImageSelection, catalog.load("image_selection"))
            else:
                _check_uses_no_model(parameters)
                image_selection = parameters.image_selection
            if splits := _splits(pipeline, parameters):
                _check_within_reach(image_selection, splits, raw, "ingest.path", "ingest.eval_path")
                if "train" in splits:
                    check_apart(image_selection)
                    for training in trainings:
                        _check_folder_classes(training)
                image_selection = with_class_names(image_selection, "ingest.classes")
            if "out_images" in pipeline.all_outputs():
                _check_within_reach(parameters.out_image_selection, ["test"], raw, "ood.out_path", "ood.out_path")
                uses_model = "glow_model" in pipeline.inputs()
                out = (
                    cast(ImageSelection, catalog.load("out_image_selection"))
                    if uses_model
                    else parameters.out_image_selection
                )
                _check_two_datasets(out, image_selection)
            if "samples" in pipeline.all_outputs() and "glow_model" not in pipeline.inputs():
                num_classes = parameters.model.num_classes or _num_classes(parameters)
                check_class(parameters, parameters.model.y_condition, num_classes)
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """A mistake that the user can mend, found in the middle of a run: its line, not its traceback."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, GlowPipelineError):
                raise click.ClickException(str(cause)) from None
            if isinstance(cause, PermissionError) and cause.filename:
                raise click.ClickException(not_permitted(Path(os.fsdecode(cause.filename)))) from None
            cause = cause.__cause__


def _check_processes(parameters: Parameters, device: torch.device) -> None:
    """There are so many devices, and several machines can know each other."""
    train = parameters.train
    processes = train.nodes * n_processes(train.devices, device)
    if train.nodes > 1:
        machine_rank(train.nodes)
        meeting_point(train.rendezvous)
    if train.batch_size < processes * train.accumulate:
        raise GlowPipelineError(
            f"train.batch_size={train.batch_size}: {processes} processes and train.accumulate={train.accumulate} need "
            f"{processes * train.accumulate} images at least; raise it, or lower those"
        )


def _check_weights(parameters: Parameters) -> None:
    """Check that this machine can hold the model's parameters."""
    check_weights(parameters.model.size(parameters.image_format.shape))


def _trainings(parameters: Parameters, pipeline: Pipeline) -> Iterator[Parameters]:
    """The parameters of all trainings of this run, of a search those at the ends of its ranges."""
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


def _check_uses_no_model(parameters: Parameters) -> None:
    if parameters.stored_model is not None:
        raise GlowPipelineError(
            f"stored_model={parameters.stored_model}: this command uses no stored model; leave it out (to start a "
            f"training from one, set train.checkpoint to its file)"
        )


def _splits(pipeline: Pipeline, parameters: Parameters) -> list[Split]:
    """Return the splits of `dataset` whose images the run reads."""
    splits = [split for split in SPLITS if f"{split}_images" in pipeline.all_outputs()]
    needs_endpoints = MODES[parameters.sample.mode].needs_endpoints
    if "endpoints" in pipeline.all_outputs() and needs_endpoints and "test" not in splits:
        splits.append("test")
    return splits


def _check_two_datasets(out: ImageSelection, image_selection: ImageSelection) -> None:
    """An image that is both inside and out says nothing."""
    if with_class_names(out, "ood.out_classes").overlaps(image_selection):
        raise GlowPipelineError(
            f"out_dataset={out.key}: its images are among those of dataset={image_selection.key}; choose another "
            f"out_dataset, or set ingest.classes and ood.out_classes apart"
        )


def _check_within_reach(
    image_selection: ImageSelection, splits: list[Split], raw: Path, path: str, eval_path: str
) -> None:
    """What no program can fetch has to be on disk; `path` and `eval_path` are the parameters that name a folder."""
    if image_selection.is_folder:
        if "train" in splits or image_selection.eval_path is None:
            _check_folder(image_selection.path, path)
        if image_selection.eval_path is not None:
            _check_folder(image_selection.eval_path, eval_path)
        return
    source = source_of(image_selection)
    _, absent = source.on_disk(raw, splits)
    if source.manual and absent:
        names = ", ".join(file.name for file in absent)
        raise GlowPipelineError(
            f"{absent[0].parent}: {names}: missing, and {source.name} cannot be downloaded by a program; "
            f"put there what you get from {source.manual}"
        )


def _check_folder(path: Path | None, parameter: str) -> None:
    if path is None:
        raise GlowPipelineError(f"{parameter}=null: this command reads images of a folder; set {parameter}")
    check_folder(path, parameter)


def _check_checkpoint(path: Path, parameters: Parameters) -> None:
    """The model that training starts from has the images and the flow that the parameters ask for."""
    record = read_record(path)
    image_format = parameters.image_format
    if record.image_format.shape != image_format.shape or record.image_format.n_bits != image_format.n_bits:
        raise GlowPipelineError(
            f"train.checkpoint={path}: a model of images {record.image_format.key}, but the parameters ask for "
            f"{image_format.key}; set ingest.size, ingest.channels or model.n_bits, or choose another checkpoint"
        )
    for name in ("fit", "background", "range"):
        asked, had = getattr(image_format, name), getattr(record.image_format, name)
        if asked != had and not (name == "range" and asked is None):  # then the model's own is taken
            raise GlowPipelineError(
                f"ingest.{name}={_typed(asked)}: train.checkpoint={path} was trained with {_typed(had)}, and would not "
                f"know its own training images again; set ingest.{name}={_typed(had)}"
            )
    wanted = {**parameters.model.model_dump(), "num_classes": parameters.num_classes}
    if parameters.dataset == FOLDER.name and parameters.model.num_classes is None:
        wanted["num_classes"] = record.num_classes  # the folder's own, which is not known yet
    for name, value in record.flow.items():
        if wanted[name] != value:
            raise GlowPipelineError(
                f"model.{name}={wanted[name]}: train.checkpoint={path} has {value}; set model.{name}={value}"
            )


def _typed(value: object) -> str:
    """Return a value as it is typed; a range is a pair."""
    return "-".join(f"{end:g}" for end in value) if isinstance(value, tuple) else str(value)


def _check_folder_classes(parameters: Parameters) -> None:
    """Check that the model of this training has all classes of the folder; those of other sources need no look."""
    if parameters.dataset != FOLDER.name:
        return
    num_classes = _num_classes(parameters)
    check_num_classes(parameters, num_classes)
    if parameters.train.checkpoint is not None and parameters.model.y_condition:
        known = read_record(Path(parameters.train.checkpoint)).num_classes
        check_knows_classes(parameters.train.checkpoint, known, num_classes)


def _num_classes(parameters: Parameters) -> int:
    """Return the number of classes of the images of `dataset`."""
    folder = parameters.dataset == FOLDER.name
    return n_classes(parameters.image_selection) if folder else source_of(parameters.image_selection).num_classes
