"""The stored models that `ood.background` and `ood.ensemble` name, for scores that need more than one model."""

from collections.abc import Sequence
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256, stored_versions, typed_path
from glow_pipeline.images.content_sets import distinct
from glow_pipeline.outliers.other_models import Kind, OtherModels
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters import OodParameters
from glow_pipeline.parameters.root import MUTATED
from glow_pipeline.training.model_file import MODEL_FILE, read_model, read_record
from glow_pipeline.training.records import ModelRecord


def find_other_models(
    folder: Path, ood: OodParameters, training: str = "kedro run --pipelines train --params dataset=..."
) -> dict[Kind, list[Path]]:
    """Return the files of the models that the requested scores need beside the scored one.

    Args:
        folder: the folder of the models of the scored images.
        ood: the requested scores and the models they name.
        training: the command that trains on these images, for the message.

    Raises:
        GlowPipelineError: one is not named, or does not exist.
    """
    needed = {kind: name for name in ood.score_names for kind in [SCORES[name].needs] if kind is not None}
    found: dict[Kind, list[Path]] = {}
    if "background" in needed:
        found["background"] = [_background(folder, ood, needed["background"], training)]
    if "ensemble" in needed:
        if ood.ensemble is None:
            raise GlowPipelineError(
                f"ood.ensemble=null: {needed['ensemble']} compares several models; name two or more: "
                f"ood.ensemble=<version>+<version>"
            )
        found["ensemble"] = [_named(model, folder, "ood.ensemble") for model in ood.ensemble]
        if len(set(found["ensemble"])) < len(found["ensemble"]):
            raise GlowPipelineError(
                f"ood.ensemble={'+'.join(ood.ensemble)}: names a model twice; name two different ones at least"
            )
    return found


def check_other_models(paths: dict[Kind, list[Path]], scored: ModelRecord) -> None:
    """Check that the models are of images of the scored model's shape and bits.

    Raises:
        GlowPipelineError: one is not, or cannot be read.
    """
    for kind, files in paths.items():
        for path in files:
            record = read_record(path)
            if _shape_and_bits(record) != _shape_and_bits(scored):
                raise GlowPipelineError(
                    f"ood.{kind}={path}: a model of images {record.image_format.key}, and those of the scored model "
                    f"are {scored.image_format.key}; name a model of the same shape and bits"
                )


def read_other_models(paths: dict[Kind, list[Path]]) -> OtherModels:
    """Read the models of `find_other_models`, on the CPU."""
    models = {kind: [read_model(path) for path in files] for kind, files in paths.items()}
    trained_on = [model.trained_on for each in models.values() for model in each if model.trained_on is not None]
    flows = {kind: tuple(model.flow for model in each) for kind, each in models.items()}
    return OtherModels(
        next(iter(flows.get("background", ())), None),
        flows.get("ensemble", ()),
        {kind: [_identity(path) for path in files] for kind, files in paths.items()},
        distinct(trained_on),
    )


def _background(folder: Path, ood: OodParameters, score: str, training: str) -> Path:
    if ood.background is not None:
        return _named(ood.background, folder, "ood.background")
    mutated = stored_versions(folder / MUTATED / MODEL_FILE)
    if not mutated:
        raise GlowPipelineError(
            f"ood.background=null: {score} compares with a background model, and none of {folder.name} was trained on "
            f"mutated images yet; type `{training},train.mutation=0.2` with the other parameters of the scored model, "
            f"or set ood.background to a stored model"
        )
    return mutated[0]


def _named(model: str, folder: Path, parameter: str) -> Path:
    """Return the file of a model that is named by its path or, of the same images, by its version."""
    if model.endswith(".safetensors") or Path(model).name != model:
        paths: Sequence[Path] = [typed_path(model)]
    else:
        paths = [models / MODEL_FILE / model / MODEL_FILE for models in (folder, folder / MUTATED)]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise GlowPipelineError(
            f"{parameter}={model}: no such model; give a version of {folder}, or the path of a .safetensors model"
        )
    return found


def _identity(path: Path) -> str:
    version = read_record(path).provenance.kedro_session or path.parent.name
    return f"{version} sha256:{sha256(path)}"


def _shape_and_bits(record: ModelRecord) -> tuple[int, ...]:
    return *record.image_format.shape, record.image_format.n_bits
