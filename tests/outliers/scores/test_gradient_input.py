import pytest
import torch

from glow_pipeline.density import ModelledBatch
from glow_pipeline.flow import Glow
from glow_pipeline.outliers.scores.gradient_input import InputGradient
from tests.conftest import jittered_glow, random_images

IMAGES = random_images(3) >> 4
NOISE = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.zeros(3, dtype=torch.int64)


def by_differences(model: Glow, image: int, step: float = 1e-6) -> float:
    """Return the gradient's norm by central differences of each pixel."""
    x, _ = model.dequantization.forward(IMAGES[image : image + 1], NOISE[image : image + 1])
    steps = step * torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    with torch.no_grad():
        above, below = (model.log_density(model.to_top(x + moved)) for moved in (steps, -steps))
    return float(((above - below) / (2 * step)).norm())


@pytest.mark.parametrize("arguments", [{}, {"y_condition": True, "num_classes": 3}], ids=["plain", "classes"])
def test_input_gradient_is_that_of_finite_differences(arguments: dict[str, object]) -> None:
    model = jittered_glow(**arguments).double()
    got = InputGradient().describe(ModelledBatch(model, IMAGES, LABELS, NOISE))
    assert got.dtype == torch.float64
    assert got.tolist() == pytest.approx([by_differences(model, image) for image in range(3)], rel=1e-6)


def test_input_gradient_does_not_change_with_company() -> None:
    model = jittered_glow()
    alone = InputGradient().describe(ModelledBatch(model, IMAGES[:1], LABELS[:1], NOISE[:1].float()))
    together = InputGradient().describe(ModelledBatch(model, IMAGES, LABELS, NOISE.float()))
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=0)


def test_input_gradient_leaves_no_graph() -> None:
    model = jittered_glow()
    with torch.no_grad():
        got = InputGradient().describe(ModelledBatch(model, IMAGES, LABELS, NOISE.float()))
    assert not got.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
