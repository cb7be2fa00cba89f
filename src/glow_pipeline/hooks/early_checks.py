"""Everything that can be known to be wrong before a run starts, and one line for what goes wrong later."""

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
from glow_pipeline.hooks.command_line import check_load_versions, check_typed
from glow_pipeline.hooks.missing_outputs import report_skipped
from glow_pipeline.images.image_set import ImageSet
from glow_pipeline.images.registry import FOLDER, source_of
from glow_pipeline.images.source import Split
from glow_pipeline.images.sources.folder import check_folder
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.resuming import check_resume
from glow_pipeline.search.space import extremes
from glow_pipeline.training.machines import machine_rank, meeting_point, n_processes
from glow_pipeline.training.stored import ModelRecord, read_record

NAMED_AT_MOST = 5
SPLITS: tuple[Split, ...] = ("train", "test")


class EarlyChecksHook:
    """Ends a run with one line, before a download, an MLflow run or a file.

    Kedro by itself accepts an unknown `--params` key in silence, and shows any exception but click's
    own as pages of traceback.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        try:
            check_typed(context)
            parse_parameters(context.config_loader["parameters"])
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        parameters = Parameters.model_validate(catalog.load("parameters"))
        try:
            check_load_versions(run_params["load_versions"], pipeline)
            report_skipped(run_params, pipeline, catalog)
            device = resolve_device(parameters.device)
            for training in _trainings(parameters, pipeline):
                resolve_precision(training.train.precision, device)
                _check_processes(training, device)
                if training.train.checkpoint is not None:
                    _check_checkpoint(Path(training.train.checkpoint), training)
            if "untrained_glow" in pipeline.all_outputs():
                check_resume(parameters)
            raw = catalog.load("raw_folder")
            splits = [split for split in SPLITS if f"{split}_images" in pipeline.all_outputs()]
            _check_within_reach(parameters.image_set, splits, raw, "ingest.path", "ingest.eval_path")
            if "out_images" in pipeline.all_outputs():
                _check_two_datasets(parameters)
                _check_within_reach(parameters.out_image_set, ["test"], raw, "ood.out_path", "ood.out_path")
            if "glow_model" in pipeline.inputs():
                dataset = cast(GlowModelDataset, catalog["glow_model"])
                _check_stored_model(dataset, parameters, run_params)
            if "samples" in pipeline.all_outputs() and "glow_model" not in pipeline.inputs():
                _check_class(parameters, parameters.model.y_condition, parameters.num_classes)
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """A mistake that the user can mend, found in the middle of a run: its line, not its traceback."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, GlowPipelineError):
                raise click.ClickException(str(cause)) from None
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


def _trainings(parameters: Parameters, pipeline: Pipeline) -> Iterator[Parameters]:
    """The parameters of all trainings of this run, of a search those at the ends of its ranges."""
    if "untrained_glow" in pipeline.all_outputs():
        yield parameters
    if "search_results" in pipeline.all_outputs():
        for name, value in (("devices", 1), ("nodes", 1), ("resume", "auto")):
            if getattr(parameters.train, name) != value:
                raise GlowPipelineError(
                    f"train.{name}={getattr(parameters.train, name)}: trials of a search train in one process each and "
                    f"go on by themselves; leave it at {value} (several commands may share one search)"
                )
        yield from extremes(parameters)


def _check_two_datasets(parameters: Parameters) -> None:
    """An image that is both inside and out says nothing."""
    if parameters.out_image_set.overlaps(parameters.image_set):
        raise GlowPipelineError(
            f"out_dataset={parameters.out_image_set.key}: its images are among those of dataset="
            f"{parameters.image_set.key}; choose another out_dataset, or set ingest.classes and ood.out_classes apart"
        )


def _check_within_reach(image_set: ImageSet, splits: list[Split], raw: Path, path: str, eval_path: str) -> None:
    """What no program can fetch has to be on disk; `path` and `eval_path` are the parameters that name a folder."""
    if image_set.path is not None:
        check_folder(image_set.path, path)
        if image_set.eval_path is not None:
            check_folder(image_set.eval_path, eval_path)
        return
    source = source_of(image_set)
    _, absent = source.on_disk(raw, splits)
    if source.manual and absent:
        names = ", ".join(file.name for file in absent)
        raise GlowPipelineError(
            f"{absent[0].parent}: {names}: missing, and {source.name} cannot be downloaded by a program; "
            f"put there what you get from {source.manual}"
        )


def _check_stored_model(dataset: GlowModelDataset, parameters: Parameters, run_params: dict[str, Any]) -> None:
    """A stored model is there, is this dataset's, and no parameter that was typed contradicts it."""
    if not dataset.exists():
        raise GlowPipelineError(_no_model(dataset, parameters.image_set, run_params["env"]))
    record = dataset.record()
    if record.dataset != parameters.image_set.key:
        raise GlowPipelineError(
            f"{dataset.load_path}: a model of {record.dataset}, not {parameters.image_set.key}; "
            f"put the model where it belongs"
        )
    for key, value in _leaves(run_params["runtime_params"]):
        if _contradicts(key, value, record):
            group, _, name = key.partition(".")
            raise GlowPipelineError(
                f"{key}={value}: the stored model {dataset.load_path.parent.name} was trained with "
                f"{key}={record.parameters[group][name]} (images {record.image_spec.key}); leave {key} out, or "
                f"train anew with it"
            )
    _check_class(parameters, record.flow["y_condition"], record.num_classes)


def _no_model(dataset: GlowModelDataset, image_set: ImageSet, env: str | None) -> str:
    versions = dataset.list_versions(full_path=False)
    if versions:
        newest = ", ".join(versions[:NAMED_AT_MOST]) + (", ..." if len(versions) > NAMED_AT_MOST else "")
        return f"glow_model:{dataset.resolve_load_version()}: no such version; there are {newest}"
    models = dataset.filepath.parents[1]
    others = sorted(
        {found.parents[2].name for found in models.glob(f"*/{dataset.filepath.name}/*/{dataset.filepath.name}")}
    )
    there = f" (there are models of {', '.join(others)})" if others else ""
    typed = f"dataset={image_set.source}"
    if image_set.path is not None:
        typed += f",ingest.path={image_set.path}"
    if image_set.classes is not None:
        typed += f",ingest.classes={'+'.join(map(str, image_set.classes))}"
    return (
        f"dataset={image_set.key}: no trained model of it yet{there}; first type "
        f"`kedro run {'' if env is None else f'--env {env} '}--pipelines train --params {typed}`"
    )


def _check_checkpoint(path: Path, parameters: Parameters) -> None:
    """The model that training starts from has the images and the flow that the parameters ask for."""
    record = read_record(path)
    spec = parameters.image_spec
    if record.image_spec.shape != spec.shape or record.image_spec.n_bits != spec.n_bits:
        raise GlowPipelineError(
            f"train.checkpoint={path}: a model of images {record.image_spec.key}, but the parameters ask for "
            f"{spec.key}; set ingest.size, ingest.channels or model.n_bits, or choose another checkpoint"
        )
    wanted = {**parameters.model.model_dump(), "num_classes": parameters.num_classes}
    if parameters.dataset == FOLDER.name and parameters.model.num_classes is None:
        wanted["num_classes"] = record.num_classes  # the folder's own, which is not known yet
    for name, value in record.flow.items():
        if wanted[name] != value:
            raise GlowPipelineError(
                f"model.{name}={wanted[name]}: train.checkpoint={path} has {value}; set model.{name}={value}"
            )


def _check_class(parameters: Parameters, y_condition: bool, num_classes: int) -> None:
    y = parameters.sample.y
    if y is not None and not y_condition:
        raise GlowPipelineError(f"sample.y={y}: the model knows no classes; train it with model.y_condition=true")
    if y is not None and y >= num_classes:
        raise GlowPipelineError(
            f"sample.y={y}: the model has {num_classes} classes; allowed are 0 to {num_classes - 1}"
        )


def _contradicts(key: str, value: object, record: ModelRecord) -> bool:
    """Whether the model would have come out with other images or another flow, had `key` been `value`."""
    group, _, name = key.partition(".")
    if group not in ("ingest", "model") or name not in record.parameters[group]:
        return False
    was = parse_parameters(record.parameters)
    then = parse_parameters({**record.parameters, group: {**record.parameters[group], name: value}})
    return any(
        of(then) != of(was)
        for of in (
            lambda parameters: parameters.image_spec,
            lambda parameters: parameters.image_set,
            lambda parameters: parameters.model.model_dump(include=set(record.flow)),
            lambda parameters: parameters.num_classes,
        )
    )


def _leaves(nested: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
