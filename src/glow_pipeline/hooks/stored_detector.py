"""The stored detector that a run uses: the newest one of its model."""

from collections.abc import Mapping
from typing import Any, cast

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from glow_pipeline.datasets.glow_detector import GlowDetectorDataset
from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.hooks.stored_model import version_of
from glow_pipeline.images.as_typed import images_as_typed
from glow_pipeline.outliers.detector import Detector, DetectorRecord, needs_fit
from glow_pipeline.outliers.detector_file import read_detector_record
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scoring import MOST_FITTED
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.parameters import Parameters
from glow_pipeline.parameters.ood import one_pass_names
from glow_pipeline.training.model_digest import stored_weights_sha256
from glow_pipeline.training.stored_detectors import StoredDetector, newest_detector
from glow_pipeline.verdict.worth import check_enough


def choose_detector(
    catalog: DataCatalog, parameters: Parameters, run_params: Mapping[str, Any], pipeline: Pipeline
) -> None:
    """Have `glow_detector` load the newest detector of the run's model, if the run reads a stored one.

    Scores that are not fitted need no detector.

    Raises:
        GlowPipelineError: a requested score has to be fitted, and the model has no detector that fits the command; the
            line says how to make one.
    """
    if "glow_detector" not in pipeline.inputs():
        return
    if "glow_model" in pipeline.all_outputs():
        raise GlowPipelineError(
            "glow_detector: this command trains a new model, of which there is no detector yet; let fit_detector and "
            "calibrate_detector run too, which make it"
        )
    dataset, model = cast(GlowDetectorDataset, catalog["glow_detector"]), cast(GlowModelDataset, catalog["glow_model"])
    digest = stored_weights_sha256(model.load_path)
    version = (run_params["load_versions"] or {}).get("glow_detector")
    found = (
        newest_detector(model.load_path, digest, dataset.files)
        if version is None
        else _of_version(dataset, version, digest)
    )
    if pipeline.datasets() & {"file_scores", "registered_detector"}:
        fitted = parameters.verdict_scores
        problem = _problem_of_verdicts(found, parameters)
    else:
        names = dict.fromkeys([*parameters.ood.score_names, *parameters.ood.group_score_names])
        fitted = [name for name in names if needs_fit(name)]
        problem = _problem(found, fitted, parameters)
    if problem is not None:
        env = run_params["env"]
        raise GlowPipelineError(
            f"{problem}; type `kedro run {'' if env is None else f'--env {env} '}--pipelines calibrate --params "
            f"{_typed(model, parameters, fitted)}`"
        )
    if found is not None and "file_scores" in pipeline.datasets():
        check_enough(found.record.n_calibration, parameters.score.false_alarm_rate)
    dataset.choose(Detector.without_scores(digest) if found is None else found.path)


def describe_detector(record: DetectorRecord) -> str:
    """Say which detector a run has used or made, and with how many images."""
    fitted_on = f"{min(record.n_validation, MOST_FITTED):,} images"
    return f"Detector {record.version}: fitted on {fitted_on}, calibrated with {record.n_calibration:,} others"


def _of_version(dataset: GlowDetectorDataset, version: str, digest: str) -> StoredDetector:
    """Return the detector that --load-versions names."""
    path = dataset.load_path
    record, scores = read_detector_record(path)
    if record.model_sha256 != digest:
        raise GlowPipelineError(
            f"--load-versions glow_detector:{version}: it is of model {record.model_session}, and not of the one in "
            f"use; choose that one too, or leave the version out"
        )
    return StoredDetector(path, record, scores)


def _problem(found: StoredDetector | None, fitted: list[str], parameters: Parameters) -> str | None:
    """Return why these scores cannot be computed with the detector, if they cannot."""
    if not fitted:
        return None
    typed = f"ood.scores={'+'.join(fitted)}"
    if found is None:
        return f"{typed}: these scores have to be fitted, and the model has no detector yet"
    version, missing = found.record.version, [name for name in fitted if name not in found.scores]
    if missing:
        return f"ood.scores={'+'.join(missing)}: not fitted in detector {version} of this model"
    if found.record.draws != parameters.ood.draws:
        return _other_draws(found, parameters)
    compressing = [name for name in fitted if SCORES[name].compresses]
    if compressing and found.record.codecs != codec_versions():
        return f"ood.scores={'+'.join(compressing)}: {found.record.other_codecs(codec_versions())}"
    return None


def _problem_of_verdicts(found: StoredDetector | None, parameters: Parameters) -> str | None:
    """Return why files cannot be judged with the detector, if they cannot."""
    names = parameters.verdict_scores
    typed = f"ood.score={names[0]}" if len(names) == 1 else f"score.scores={'+'.join(names[1:])}"
    for name in names:
        if SCORES[name].needs is not None:
            raise GlowPipelineError(
                f"{typed}: {name} compares with other models, and a detector has no calibration scores of it; choose "
                f"another one of {', '.join(one_pass_names())}"
            )
    if found is None:
        return f"{typed}: a verdict compares with calibration images, and the model has no detector yet"
    missing = [name for name in names if name not in found.scores]
    if missing:
        return f"{typed}: {', '.join(missing)}: not in detector {found.record.version} of this model"
    if parameters.ood.draws not in (1, found.record.draws):  # the default stands for those of the detector
        return _other_draws(found, parameters)
    if found.record.codecs != codec_versions():
        return f"{typed}: {found.record.other_codecs(codec_versions())}"
    return None


def _other_draws(found: StoredDetector, parameters: Parameters) -> str:
    fitted_with = f"detector {found.record.version} was fitted with ood.draws={found.record.draws}"
    return f"ood.draws={parameters.ood.draws}: {fitted_with}"


def _typed(model: GlowModelDataset, parameters: Parameters, fitted: list[str]) -> str:
    """Return the `--params` of the command that makes the detector."""
    typed = [images_as_typed(parameters.image_selection)]
    if parameters.chosen_model is not None:
        typed.append(f"stored_model={parameters.chosen_model[1]}")
    elif model.why_this_one != "the newest":
        typed.append(f"stored_model={version_of(model)}")
    if own_passes := [name for name in fitted if name not in one_pass_names()]:  # the others are always fitted
        typed.append(f"ood.scores={'+'.join(own_passes)}")
    if parameters.ood.draws != 1:
        typed.append(f"ood.draws={parameters.ood.draws}")
    return ",".join(typed)
