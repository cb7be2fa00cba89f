"""Results on a GPU that must equal those on a CPU: `pytest -m gpu`."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from glow_pipeline.density import ModelledBatch, log_probs, modelled_batches
from glow_pipeline.device import resolve_device
from glow_pipeline.flow import Glow
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise, kernel_on, noise_by_operations
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.reasons import Reasons
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scoring import Describer, described_batches
from glow_pipeline.randomness import key
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.step import TrainingStep
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.project import TINY, copy_project, run, versions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def test_auto_selects_the_gpu() -> None:
    assert resolve_device("auto").type == "cuda"


@pytest.mark.parametrize("execution", [None, Execution(), Execution(precision="tf32")], ids=str)
def test_float32_scores_equal_float64_on_the_cpu(execution: Execution | None) -> None:
    """In a process that has not called `use_device`, where cuDNN would round to TF32."""
    random = torch.Generator().manual_seed(0)
    model = Glow((3, 16, 16), K=8, L=2, hidden_channels=64, generator=random)
    images = torch.randint(0, 256, (8, 3, 16, 16), generator=random).to(torch.uint8)
    noise = torch.rand(images.shape, generator=random)
    model.initialize(model.dequantization.forward(images, noise)[0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=random))
        exact = copy.deepcopy(model).double()
        on_cpu = exact.log_prob(images, noise.double())
        eps, _ = exact(noise.double() - 0.5)
        model.cuda().execution = execution
        on_gpu = model.log_prob(images.cuda(), noise.cuda())
        eps_on_gpu, _ = model(noise.cuda() - 0.5)
    torch.testing.assert_close(on_gpu.cpu().double(), on_cpu, rtol=1e-5, atol=0)
    for ours, theirs in zip(eps_on_gpu, eps, strict=True):
        assert (ours.cpu() - theirs).norm() < 1e-5 * theirs.norm()


def test_host_does_not_wait_for_each_scored_batch(make_table: MakeTable) -> None:
    model = jittered_glow().cuda()
    batches = Batches(make_table(random_images(64), 4), 8, torch.device("cuda"), on_device=True)
    expected = torch.cat(list(log_probs(model, batches, 0)))
    scored = log_probs(model, batches, 0)
    parts = [next(scored)]  # the order of the images is copied before
    torch.cuda.set_sync_debug_mode("error")
    try:
        parts += scored
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(torch.cat(parts), expected)


def test_host_does_not_wait_for_each_described_batch(make_table: MakeTable) -> None:
    model = jittered_glow(image_shape=(1, 16, 16)).cuda()
    batches = Batches(make_table(random_images(64, size=(16, 16)), 4), 8, torch.device("cuda"), on_device=True)
    describers: list[Describer] = [*(score for score in SCORES.values() if not score.needs), Reasons()]
    expected = list(described_batches(model, batches, describers, 0, 1, None))
    described = described_batches(model, batches, describers, 0, 1, None)
    got = [next(described)]  # the order of the images is copied before
    torch.cuda.set_sync_debug_mode("error")
    try:
        got += described
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, theirs in zip(got, expected, strict=True):
        for name, numbers in theirs.items():
            assert np.array_equal(ours[name], numbers, equal_nan=True), name


def test_host_does_not_wait_for_each_heat_map(make_table: MakeTable) -> None:
    model = jittered_glow(image_shape=(1, 16, 16)).cuda()
    batches = Batches(make_table(random_images(64, size=(16, 16)), 4), 8, torch.device("cuda"), on_device=True)

    def traced() -> Iterator[ModelledBatch]:
        return modelled_batches(model, batches, 0, None, traces=True)

    heat_map = HeatMap().fit(traced()).calibrate(traced())
    on_cpu = HeatMap().fit(modelled_batches(copy.deepcopy(model).cpu(), _on_the_cpu(batches), 0, None, traces=True))
    assert heat_map.fitted["usual"] == pytest.approx(on_cpu.fitted["usual"], abs=1e-3)
    batch = next(modelled_batches(model, batches, 0, None, traces=True))
    torch.cuda.set_sync_debug_mode("error")
    try:
        heat_map.raw(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _on_the_cpu(batches: Batches) -> Batches:
    return Batches(batches.table, batches.batch_size, torch.device("cpu"))


@pytest.mark.parametrize("name", ["nll", "last_level", "density_of_states", "gradient_input", "complexity"])
def test_descriptions_on_gpu_and_cpu_are_equal(make_table: MakeTable, name: str) -> None:
    model = jittered_glow(image_shape=(1, 16, 16))
    batches = Batches(make_table(random_images(30, size=(16, 16)), 4), 8, torch.device("cuda"))

    def described(model: Glow, batches: Batches) -> NDArray[np.float64]:
        return np.concatenate([each[name] for each in described_batches(model, batches, [SCORES[name]], 0, 2, None)])

    on_cpu = described(model, _on_the_cpu(batches))
    assert described(model.cuda(), batches) == pytest.approx(on_cpu, rel=1e-4)


@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (3, 3, 20, 33), (2, 1, 8, 8), (1, 3, 256, 256), (0, 1, 8, 8)])
def test_noise_has_the_same_bits_on_the_gpu(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for noise_key in (key(0, "score"), -1, 7):
        expected = content_noise(images, noise_key)
        assert torch.equal(content_noise(images.cuda(), noise_key).cpu(), expected)
        assert torch.equal(noise_by_operations(images.cuda(), noise_key).cpu(), expected)


def test_kernel_draws_the_noise() -> None:
    pytest.importorskip("triton")
    assert kernel_on(torch.zeros(1, device="cuda").device) is not None


def test_all_pipelines_run_on_the_gpu(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    model = {**TINY["model"], "y_condition": True}
    run(project, "__default__", device="cuda", train=TINY["train"], model=model)
    assert versions(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")


def test_images_of_256x256_train_in_16_gib() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 256, 256), generator=random).to(torch.uint8).cuda()
    model = Glow((3, 256, 256), K=32, L=6, hidden_channels=512, generator=random).cuda()
    model.to(memory_format=torch.channels_last)
    x, logdet = model.dequantization.dequantize(images, torch.Generator("cuda").manual_seed(1))
    model.initialize(x[:1])
    model.execution = Execution("reversible", "bfloat16")
    step = TrainingStep(model, Adamax(model.parameters(), lr=1e-5), 0.0, 1)
    torch.cuda.reset_peak_memory_stats()
    assert all(torch.isfinite(step(x, logdet)) for _ in range(3))
    assert torch.cuda.max_memory_allocated() < 16 * 2**30
