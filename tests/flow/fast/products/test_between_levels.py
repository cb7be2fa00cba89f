"""What lies between the levels of a step on a GPU is the plain layers' map."""

import pytest
import torch
from torch import Tensor

from glow_pipeline.flow.fast.products.between_levels import split_and_squeezed, squeezed
from glow_pipeline.flow.prior import SplitPrior
from glow_pipeline.flow.squeeze import Squeeze
from tests.flow.helpers import gaussian, perturbed

SQUEEZE = Squeeze()


def values_and_gradients(results: tuple[Tensor, ...], inputs: list[Tensor]) -> list[Tensor]:
    loss = torch.zeros((), dtype=torch.float64)
    for seed, each in enumerate(results):
        loss = loss + (each * gaussian(*each.shape, seed=seed)).sum()
    return [*(each.detach() for each in results), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("shape", [(3, 12, 4, 6), (1, 2, 2, 2), (64, 24, 8, 8)], ids=str)
def test_split_and_squeeze_are_the_plain_layers(shape: tuple[int, ...]) -> None:
    prior, z = perturbed(SplitPrior(shape[1]), 0.1), gaussian(*shape).contiguous(memory_format=torch.channels_last)
    network, z, before = prior.network, z.requires_grad_(), gaussian(shape[0]).requires_grad_()
    assert network.conv.bias is not None
    inputs = [z, before, *prior.parameters()]
    z1, eps, logdet = prior(z)
    expected = values_and_gradients((SQUEEZE(z1)[0], eps, before + logdet), inputs)
    results = split_and_squeezed(z, before, network.conv.weight, network.conv.bias, network.log_scale)
    for each, plain in zip(values_and_gradients(results, inputs), expected, strict=True):
        torch.testing.assert_close(each, plain, rtol=1e-12, atol=1e-12)


def test_next_level_gets_its_channels_last_in_memory() -> None:
    prior = SplitPrior(12)
    z = gaussian(2, 12, 4, 4, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    bias = prior.network.conv.bias
    assert bias is not None
    x, _, _ = split_and_squeezed(z, z.new_zeros(2), prior.network.conv.weight, bias, prior.network.log_scale)
    assert x.is_contiguous(memory_format=torch.channels_last)
    images = gaussian(2, 3, 4, 4)
    assert squeezed(images).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(squeezed(images), SQUEEZE(images)[0])
