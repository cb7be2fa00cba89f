"""An Apple GPU, pretended: what is asked of it, and the one line about what it lacks."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from glow_pipeline.density import ModelledBatch, log_probs
from glow_pipeline.device import resolve_device, unsupported_operation
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.parameters import parse_parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.sampling.decoding import draw
from glow_pipeline.sampling.interpolate import interpolate
from glow_pipeline.training.model_file import TrainedGlow
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.task import TrainingTask
from glow_pipeline.training.train import train
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.pretended_mps import pretended_mps, without_kernel
from tests.project import TINY, copy_project, run, versions

CLASSES = {"y_condition": True, "num_classes": 3, "learn_top": True}
# Of torch 2.11; torch 2.15 has it.
FACTORIZATION = "aten::_linalg_slogdet"


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(random_images(24), 4)


def test_pretended_device_refuses_what_mps_refuses() -> None:
    with pretended_mps() as mps:
        x = torch.ones(3, 3, device="mps", requires_grad=True)
        y = (x.exp() * 2).sum()
        assert {tensor.device.type for tensor in (x, y, x.new_zeros(2), x[:2].t(), torch.zeros_like(x))} == {"mps"}
        y.backward()
        assert x.grad is not None
        assert x.grad.device.type == "mps"
        assert y.detach().cpu().double().device.type == "cpu"
        with pytest.raises(TypeError, match="MPS"):
            y.double()
        with pytest.raises(TypeError, match="MPS"):
            torch.zeros(2, dtype=torch.float64).to("mps")
        with pytest.raises(TypeError, match="to numpy"):
            np.asarray(x.detach())
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3, 3)
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, generator=torch.Generator(), device="mps")
        with pytest.raises(NotImplementedError) as missing:
            torch.linalg.eigvals(x)
        assert unsupported_operation(missing.value) is not None
        assert "aten::exp" in mps.used
    assert "aten::mm" not in without_kernel()


TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reversible": {"train": {"activations": "reversible", "accumulate": 2}},
    "checkpointed": {"train": {"activations": "checkpointed", "flip": True, "mutation": 0.2}},
    "averaged": {"train": {"ema": 0.9, "max_grad_norm": 1.0, "max_grad_clip": 0.1, "decay": 0.01}},
    "bfloat16": {"train": {"precision": "bfloat16"}},
    "classes, LU": {"model": {**CLASSES, "num_classes": None, "LU_decomposed": True, "flow_coupling": "additive"}},
    "shuffle": {"model": {"flow_permutation": "shuffle", "scale_floor": 0.1}},
}


def trained(table: ImageTable, device: str, raw: dict[str, Any]) -> TrainedGlow:
    model = {"K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4, **raw.get("model", {})}
    settings = {"n_epochs": 2, "batch_size": 8, "lr": 0.01, "warmup": 0.0, **raw.get("train", {})}
    given = {"dataset": "textures", "device": device, "model": model, "train": settings}
    task = TrainingTask(table, table, parse_parameters(given), Provenance())
    return train(task, untrained_flow(task.parameters, table.record.image_format, 3))[0]


@pytest.mark.parametrize("case", TRAININGS.values(), ids=TRAININGS)
def test_training_asks_nothing_that_mps_lacks(table: ImageTable, case: dict[str, Any]) -> None:
    """Its steps, its validation and the figures about it; the weights are those of a CPU but for rounding."""
    expected = trained(table, "cpu", case)
    with pretended_mps((FACTORIZATION,)) as mps:
        found = trained(table, "auto", case)
        weights = {name: tensor.cpu() for name, tensor in found.flow.state_dict().items()}
    assert (found.record.device, found.record.precision) == ("mps", case.get("train", {}).get("precision", "float32"))
    assert "aten::convolution_backward" in mps.used
    for name, tensor in expected.flow.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", SCORES)
def test_scores_ask_nothing_that_mps_lacks(name: str) -> None:
    images, labels = random_images(6) >> 4, torch.arange(6) % 3
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))

    def described(device: str) -> torch.Tensor:
        models = [jittered_glow(K=k, L=2).to(device) for k in (1, 2)]
        score = SCORES[name].with_models(OtherModels(background=models[1], ensemble=tuple(models)))
        with torch.no_grad():
            batch = ModelledBatch(
                models[0], images.to(device), labels.to(device), noise.to(device), traces=score.traces
            )
            return score.describe(batch).detach().cpu().double()

    expected = described("cpu")
    with pretended_mps((FACTORIZATION,)):
        found = described("mps")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, CLASSES, {"LU_decomposed": True}], ids=["plain", "classes", "LU"])
def test_log_probs_and_samples_run_on_mps(table: ImageTable, options: dict[str, Any]) -> None:
    images, other, middle = random_images(4) >> 4, random_images(4, seed=1) >> 4, torch.full((4, 1, 8, 8), 0.5)
    labels = torch.arange(4) % 3 if "y_condition" in options else None

    def computed(device: str) -> list[torch.Tensor]:
        model, where = jittered_glow(K=2, **options).to(device), torch.device(device)
        y = None if labels is None else labels.to(device)
        scored = torch.cat(list(log_probs(model, Batches(table, 8, where), 0, labelled=True)))
        drawn = draw(model, 4, 0.7, torch.Generator(device).manual_seed(0), y)
        path = interpolate(model, images.to(device), other.to(device), [0.0, 0.5, 1.0], middle.to(device), y, y)
        return [tensor.cpu() for tensor in (scored, drawn.images, drawn.broken, *path.images)]

    expected = computed("cpu")
    with pretended_mps((FACTORIZATION,)):
        assert resolve_device("auto").type == "mps"
        found = computed("mps")
    torch.testing.assert_close(found[0], expected[0])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[1:], expected[1:], strict=True))


def test_operation_that_mps_lacks_is_one_line(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    with pretended_mps(("aten::convolution_backward",)), pytest.raises(click.ClickException) as refused:
        run(project, "train", **TINY)
    assert refused.value.message == (
        "device=mps: torch has no aten::convolution_backward there; set device=cpu, or have the CPU compute it by the "
        "environment variable PYTORCH_ENABLE_MPS_FALLBACK=1"
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, CLASSES], ids=["plain", "classes"])
def test_all_pipelines_run_on_a_pretended_mps(tmp_path: Path, options: dict[str, Any]) -> None:
    project = copy_project(tmp_path, quick_ood=False)
    model = {**TINY["model"], **options, "num_classes": None}
    with pretended_mps((FACTORIZATION,)):
        run(project, "__default__", train=TINY["train"], model=model, ood={"bootstrap": 20, "draws": 2})
        run(project, "score", score={"images": str(project / "data" / "03_primary"), "heatmaps": "all"})
    assert versions(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")
