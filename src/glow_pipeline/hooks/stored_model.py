"""The stored model that a run uses: checks that it exists and is the requested one, and its description."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.as_typed import images_as_typed
from glow_pipeline.images.classes import position
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.parameters import Parameters, flattened, parse_parameters
from glow_pipeline.training.model_file import read_record
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.training.shipped_models import shipped_model_of, shipped_models, shipped_name

NAMED_AT_MOST = 5
COMPARED_AT_MOST = 200  # versions whose headers are read in search of a better one
# The place of a folder's images is no part of the model.
PLACES = ("ingest.path", "ingest.eval_path", "ingest.name", "ingest.num_workers")


def check_stored_model(dataset: GlowModelDataset, parameters: Parameters, run_params: dict[str, Any]) -> None:
    """Check that the model exists, is of the requested dataset, and that no typed parameter contradicts it.

    Raises:
        GlowPipelineError: the first thing that is wrong.
    """
    versions = run_params["load_versions"] or {}
    if parameters.chosen_model is not None and "glow_model" in versions:
        raise GlowPipelineError(
            f"{'='.join(parameters.chosen_model)}: --load-versions names glow_model:{versions['glow_model']} too; "
            f"leave one of them out"
        )
    if not dataset.exists():
        raise GlowPipelineError(_absent(dataset, parameters, run_params["env"]))
    record = dataset.record()
    wanted = parameters.image_selection.key
    if record.dataset != wanted:
        raise GlowPipelineError(
            f"{dataset.load_path}: a model of {record.dataset}, and this command is about {wanted}; "
            f"add {images_as_typed(record.train_table.image_selection)} to --params, or choose a model of {wanted}"
        )
    for key, value in flattened(run_params["runtime_params"]).items():
        if _contradicts(key, value, record):
            group, _, name = key.partition(".")
            raise GlowPipelineError(
                f"{key}={value}: the stored model {dataset.load_path.parent.name} was trained with "
                f"{key}={record.parameters[group][name]} (images {record.image_format.key}); leave {key} out, or "
                f"train anew with it"
            )
    check_class(parameters, record.flow["y_condition"], record.num_classes, record.train_table.class_names)


def check_class(parameters: Parameters, y_condition: bool, num_classes: int, class_names: Sequence[str] = ()) -> None:
    """Check `sample.y` against the classes that a model knows.

    Args:
        parameters: all parameters of the command.
        y_condition, num_classes: the model's own.
        class_names: names of its classes; empty where they have numbers only.

    Raises:
        GlowPipelineError: the model does not know that class.
    """
    y = parameters.sample.y
    if y is not None and not y_condition:
        raise GlowPipelineError(f"sample.y={y}: the model knows no classes; train it with model.y_condition=true")
    if y is not None and any(class_names):
        try:
            position(y, class_names)
        except GlowPipelineError as error:
            raise GlowPipelineError(f"sample.y={y}: {error}") from None
    elif y is not None and y >= num_classes:
        raise GlowPipelineError(
            f"sample.y={y}: the model has {num_classes} classes; allowed are 0 to {num_classes - 1}"
        )


def describe_model(dataset: GlowModelDataset) -> str:
    """Say which model a run has used, whether it is the newest, and which of the same images is better."""
    record = dataset.record()
    details = [record.dataset, f"epoch {record.best_epoch} of {record.epochs}"]
    if record.val_bits_per_dim is not None:
        given_class = " given their class" if record.flow["y_condition"] else ""
        details.append(f"{record.val_bits_per_dim:.4f} bits/dim on validation images{given_class}")
    if record.diverged:
        details.append("its training diverged after that epoch")
    name = shipped_name(dataset.load_path)
    why = dataset.why_this_one if name is None else f"shipped as {name}"
    line = f"Model {version_of(dataset)} ({why}): {', '.join(details)}"
    better = _better(dataset, record)
    if better is None:
        return line
    return f"{line}\n  A better one of the same images: stored_model={better[0]}, {better[1]:.4f} bits/dim"


def version_of(dataset: GlowModelDataset) -> str:
    """Return the version that the model was saved as, wherever its file is now."""
    return dataset.record().provenance.kedro_session or dataset.load_path.parent.name


def train_command(image_selection: ImageSelection, env: str | None) -> str:
    """Return the command that trains on these images."""
    environment = "" if env is None else f"--env {env} "
    return f"kedro run {environment}--pipelines train --params {images_as_typed(image_selection)}"


def _absent(dataset: GlowModelDataset, parameters: Parameters, env: str | None) -> str:
    if parameters.chosen_model is not None and (typed := parameters.chosen_model[1]) in shipped_models():
        return f"{'='.join(parameters.chosen_model)}: no version of a model has this name; type model={typed}"
    versions = dataset.list_versions(full_path=False) if dataset.filepath.is_dir() or not dataset.is_local else []
    if parameters.chosen_model is not None and dataset.load_path.parent.name != parameters.chosen_model[1]:
        return f"{'='.join(parameters.chosen_model)}: no such file; give a version, or the path of a .safetensors model"
    if versions:
        newest = ", ".join(versions[:NAMED_AT_MOST]) + (", ..." if len(versions) > NAMED_AT_MOST else "")
        return f"glow_model:{dataset.resolve_load_version()}: no such version; there are {newest}"
    models = dataset.filepath.parents[1]
    others = sorted(
        {found.parents[2].name for found in models.glob(f"*/{dataset.filepath.name}/*/{dataset.filepath.name}")}
    )
    known = f" (there are models of {', '.join(others)})" if others else ""
    mutation = f",train.mutation={parameters.train.mutation}" if parameters.train.mutation else ""
    shipped = None if mutation else shipped_model_of(parameters.image_selection.key)
    instead = "" if shipped is None else f", or type model={shipped} for the one that is shipped"
    return (
        f"dataset={parameters.image_selection.key}: no trained model of it yet{known}; first type "
        f"`{train_command(parameters.image_selection, env)}{mutation}`{instead}"
    )


def _better(dataset: GlowModelDataset, record: ModelRecord) -> tuple[str, float] | None:
    """Return the version with the lowest bits/dim of those that were trained and judged on the same images."""
    best: tuple[str, float] | None = None
    lowest = record.val_bits_per_dim
    # Those in a bucket would all have to be fetched.
    for path in dataset.list_versions()[:COMPARED_AT_MOST] if dataset.is_local and dataset.filepath.is_dir() else []:
        try:
            other = read_record(Path(path))
        except GlowPipelineError:  # damaged; a run that wants it says so
            continue
        value = other.val_bits_per_dim
        if _judged_alike(other, record) and value is not None and (lowest is None or value < lowest):
            lowest, best = value, (Path(path).parent.name, value)
    return best


def _judged_alike(one: ModelRecord, other: ModelRecord) -> bool:
    """Return whether the bits per dimension of two models are of the same validation images, and of the same kind."""

    def judged_by(record: ModelRecord) -> tuple[object, ...]:
        ingest = record.parameters["ingest"]
        percentages = ingest["val_percentage"], ingest["calibration_percentage"]
        return record.parameters["seed"], percentages, record.flow["y_condition"]

    return one.train_table.origin.makes_the_same(other.train_table.origin) and judged_by(one) == judged_by(other)


def _contradicts(key: str, value: object, record: ModelRecord) -> bool:
    """Return whether the model would have come out with other images or another flow, had `key` been `value`."""
    group, _, name = key.partition(".")
    if key in PLACES or group not in ("ingest", "model") or name not in record.parameters[group]:
        return False
    if key == "ingest.range" and record.image_format.range is None:
        return False  # of images deeper than any that it was trained on
    before = parse_parameters(record.parameters)
    then = parse_parameters({**record.parameters, group: {**record.parameters[group], name: value}})
    return any(
        part(then) != part(before)
        for part in (
            lambda parameters: _completed(parameters.image_format, record),
            lambda parameters: parameters.image_selection,
            lambda parameters: parameters.model.model_dump(include=set(record.flow)),
            lambda parameters: parameters.num_classes,
        )
    )


def _completed(image_format: ImageFormat, record: ModelRecord) -> ImageFormat:
    """Return a format with the range that the model's training images gave it, if it has none."""
    return (
        image_format
        if image_format.range is not None
        else image_format.model_copy(update={"range": record.image_format.range})
    )
