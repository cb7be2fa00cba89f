"""The node that makes the card of a trained model."""

import io
from typing import Any

import torch

from glow_pipeline.device import use_device
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.memory import memory_in_one_line
from glow_pipeline.parameters import SampleParameters, TrainParameters
from glow_pipeline.plots.grids import square_grid
from glow_pipeline.plots.style import DPI
from glow_pipeline.randomness import generator
from glow_pipeline.sampling import sampling_threads
from glow_pipeline.sampling.decoding import Decoded, draw
from glow_pipeline.sampling.pictures import shown
from glow_pipeline.training.model_card import ModelCard
from glow_pipeline.training.model_card.page import page_of
from glow_pipeline.training.model_card.results import COPIES, Samples, TrainingResult
from glow_pipeline.training.model_digest import weights_sha256
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.records import ModelRecord

N_SAMPLES = 16


def write_model_card(
    glow_model: TrainedGlow,
    train_metrics: dict[str, Any],
    sample: SampleParameters,
    train: TrainParameters,
    seed: int,
    device: str,
) -> ModelCard:
    """Return the card of the trained model, with 16 samples; of a class-conditioned model its classes in turn.

    Raises:
        GlowPipelineError: the metrics are those of another model.
    """
    record = glow_model.record
    digest = weights_sha256(glow_model.flow.state_dict())
    _check_metrics(train_metrics, record)
    flow = glow_model.flow.to(use_device(device))
    drawn = _draw(flow, sample.temperature, seed, train)
    training = TrainingResult(
        test_bits_per_dim=train_metrics["test_bits_per_dim"],
        given_class=train_metrics.get("test_bits_per_dim_given_class"),
        n_test=train_metrics["n_test"],
        copies={key: train_metrics[key] for key in COPIES if train_metrics.get(key)},
        weights_sha256=digest,
        samples=Samples(
            n=N_SAMPLES, temperature=sample.temperature, seed=seed, not_finite=int(drawn.broken.sum().item())
        ),
    )
    image_format = record.image_format
    title = (
        f"{N_SAMPLES} samples of Glow on {record.dataset}, {image_format.height}x{image_format.width}, "
        f"{image_format.n_bits} bits, temperature {sample.temperature}"
    )
    picture = io.BytesIO()
    square_grid(shown(flow, drawn), title).savefig(picture, dpi=DPI, format="png")
    file_sha256 = None if glow_model.file is None else sha256(glow_model.file)
    page = page_of(record, digest, training, file_sha256=file_sha256, has_samples=True)
    return ModelCard(page, picture.getvalue(), training, str(record.provenance.kedro_session))


def _check_metrics(metrics: dict[str, Any], record: ModelRecord) -> None:
    """Check that stored metrics, which may be of another command than the model, are of this one."""
    if any(metrics.get(name) != getattr(record, name) for name in ("dataset", "epochs", "best_epoch", "steps")):
        version = record.provenance.kedro_session
        raise GlowPipelineError(
            f"train_metrics: those in use are of another model than {version}; add --load-versions "
            f"train_metrics:{version}, or let evaluate_glow run too"
        )


def _draw(flow: Glow, temperature: float, seed: int, train: TrainParameters) -> Decoded:
    on = next(flow.parameters()).device
    y = torch.arange(N_SAMPLES, device=on) % flow.num_classes if flow.y_condition else None
    with (
        memory_in_one_line(f"{N_SAMPLES} samples of the model card", "choose a smaller model or another device"),
        sampling_threads(flow, N_SAMPLES, 1, train.threads),
    ):
        return draw(flow, N_SAMPLES, temperature, generator(seed, "model card", 0, on), y)
