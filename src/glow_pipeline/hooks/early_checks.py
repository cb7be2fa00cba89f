"""Everything that can be known to be wrong before a run starts, and one line for what goes wrong later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.training.stored import ModelRecord, read_record


class EarlyChecksHook:
    """Ends a run with one line, before a download, an MLflow run or a file.

    Kedro by itself accepts an unknown `--params` key in silence, and shows any exception but click's
    own as pages of traceback.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        try:
            parse_parameters(context.config_loader["parameters"])
        except GlowPipelineError as error:
            raise click.ClickException(str(error)) from None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        parameters = Parameters.model_validate(catalog.load("parameters"))
        try:
            if "out_images" in pipeline.all_outputs():
                _check_two_datasets(parameters)
            if "glow_model" in pipeline.inputs():
                dataset = cast(GlowModelDataset, catalog["glow_model"])
                _check_stored_model(dataset, parameters, run_params["runtime_params"])
            if "untrained_glow" in pipeline.all_outputs() and parameters.train.checkpoint is not None:
                _check_checkpoint(Path(parameters.train.checkpoint), parameters)
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


def _check_two_datasets(parameters: Parameters) -> None:
    if parameters.out_dataset == parameters.dataset:
        raise GlowPipelineError(
            f"out_dataset={parameters.out_dataset}: the same as dataset; choose another, --params out_dataset=..."
        )


def _check_stored_model(dataset: GlowModelDataset, parameters: Parameters, runtime_params: dict[str, Any]) -> None:
    """A stored model is there, is this dataset's, and no parameter that was typed contradicts it."""
    if not dataset.exists():
        raise GlowPipelineError(_no_model(dataset, parameters.dataset))
    record = dataset.record()
    if record.dataset != parameters.dataset:
        raise GlowPipelineError(
            f"{dataset.load_path}: a model of dataset {record.dataset}, not {parameters.dataset}; "
            f"type dataset={record.dataset}, or put the model where it belongs"
        )
    for key, value in _leaves(runtime_params):
        if _contradicts(key, value, record):
            group, _, name = key.partition(".")
            raise GlowPipelineError(
                f"{key}={value}: the stored model {dataset.load_path.parent.name} was trained with "
                f"{key}={record.parameters[group][name]} (images {record.image_spec.key}); leave {key} out, or "
                f"train anew with it"
            )
    _check_class(parameters, record.flow["y_condition"], record.num_classes)


def _no_model(dataset: GlowModelDataset, name: str) -> str:
    versions = dataset.list_versions(full_path=False)
    if versions:
        return f"glow_model:{dataset.resolve_load_version()}: no such version; there are {', '.join(versions)}"
    models = dataset.filepath.parents[1]
    others = sorted(
        {found.parents[2].name for found in models.glob(f"*/{dataset.filepath.name}/*/{dataset.filepath.name}")}
    )
    there = f" (there are models of {', '.join(others)})" if others else ""
    return (
        f"dataset={name}: no trained model of it yet{there}; first type "
        f"`kedro run --pipeline train --params dataset={name}`"
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
    typed = {**record.parameters, group: {**record.parameters[group], name: value}}
    then = parse_parameters(typed)
    flow = {**then.model.model_dump(include=set(record.flow)), "num_classes": then.num_classes}
    return then.image_spec != record.image_spec or flow != record.flow


def _leaves(nested: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
