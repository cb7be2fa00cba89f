"""One pass over the test images against independent computations of each of its numbers."""

import math

import numpy as np
import pytest
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.content import content_noise
from glow_pipeline.images.table import ImageTable
from glow_pipeline.randomness import key
from glow_pipeline.training.evaluation import mean_bits_per_dim
from glow_pipeline.training.measurement import EXTREMES, measure_images
from tests.conftest import MakeTable, jittered_glow, random_images

CPU = torch.device("cpu")
IMAGES = random_images(21)
N_DIMENSIONS, N_BITS = 64, 4


@pytest.fixture
def table(make_table: MakeTable) -> ImageTable:
    return make_table(IMAGES, N_BITS)


def overflowing() -> Glow:
    """A model that overflows on some of the images."""
    flow = jittered_glow()
    with torch.no_grad():
        flow.get_parameter("splits.0.network.log_scale").zero_()
        flow.get_parameter("splits.0.network.conv.bias")[-1] = -44.5
    return flow


@pytest.mark.parametrize("y_condition", [False, True])
def test_bits_are_those_of_the_evaluation(table: ImageTable, y_condition: bool) -> None:
    flow = jittered_glow(**({"y_condition": True, "num_classes": 2} if y_condition else {}))  # 2: class 2 is unknown
    batches = Batches(table, 8, CPU)
    found = measure_images(flow, batches, seed=3)
    assert found.bits_per_dim == mean_bits_per_dim(flow, batches, 3)
    given_class = mean_bits_per_dim(flow, batches, 3, labelled=True) if y_condition else None
    assert found.bits_per_dim_given_class == given_class


def test_levels_add_up_to_the_bits_per_dimension(table: ImageTable) -> None:
    found = measure_images(jittered_glow(), Batches(table, 8, CPU), seed=0)
    parts = found.by_level
    assert parts.grey_levels == N_BITS
    assert parts.total == pytest.approx(found.bits_per_dim, rel=1e-6)
    assert (parts.n, parts.n_not_finite) == (21, 0)


def test_levels_are_those_of_the_plain_layers(table: ImageTable) -> None:
    """The same flow layer by layer, in float64 and without the fast path."""
    flow = jittered_glow(learn_top=True)
    parts = measure_images(flow, Batches(table, 8, CPU), seed=0).by_level.levels
    images = IMAGES >> 4
    plain = jittered_glow(learn_top=True).double()
    plain.execution = None
    x = (images.double() + content_noise(images, key(0, "score")).double()) / 16 - 0.5
    with torch.no_grad():
        z, first_logdet = plain.get_submodule("levels.0")(x)
        z1, z2 = z.chunk(2, dim=1)
        mean, log_sd = plain.get_submodule("splits.0.network")(z1).chunk(2, dim=1)
        top, second_logdet = plain.get_submodule("levels.1")(z1)
        prior = torch.distributions.Normal(mean, log_sd.exp())
        top_mean, top_log_sd = plain.get_parameter("top.gaussian").view(2, -1, 1, 1)
        top_prior = torch.distributions.Normal(top_mean, top_log_sd.exp())
    nats = [
        (prior.log_prob(z2).flatten(1).sum(1), first_logdet),
        (top_prior.log_prob(top).flatten(1).sum(1), second_logdet),
    ]
    for part, (latent, logdet), shape in zip(parts, nats, [(2, 4, 4), (8, 2, 2)], strict=True):
        assert part.shape == shape
        for found, expected in ((part.latent, latent), (part.determinant, logdet)):
            assert found == pytest.approx(-expected.mean().item() / (N_DIMENSIONS * math.log(2)), rel=1e-4, abs=1e-5)


def test_extremes_are_the_ends_of_the_sorted_likelihoods(table: ImageTable) -> None:
    flow, chosen = jittered_glow(), table.subset(np.arange(20, 0, -1))
    found = measure_images(flow, Batches(chosen, 8, CPU), seed=0)
    images = IMAGES >> 4
    with torch.no_grad():
        bits = flow.bits_per_dim(flow.log_prob(images, content_noise(images, key(0, "score")))).numpy()
    order = sorted(range(1, 21), key=lambda row: bits[row])
    assert list(found.most_likely.rows) == order[:EXTREMES]
    assert list(found.least_likely.rows) == order[: -EXTREMES - 1 : -1]
    assert found.most_likely.bits_per_dim == pytest.approx(bits[order[:EXTREMES]], rel=1e-5)


def test_few_images_are_at_both_ends(table: ImageTable) -> None:
    found = measure_images(jittered_glow(), Batches(table.subset(np.arange(3)), 8, CPU), seed=0)
    assert sorted(found.most_likely.rows) == sorted(found.least_likely.rows) == [0, 1, 2]


def test_latents_are_those_of_forward(table: ImageTable) -> None:
    flow = jittered_glow()
    found = measure_images(flow, Batches(table, 8, CPU), seed=0).latents
    images = IMAGES >> 4
    x, _ = flow.dequantization.forward(images, content_noise(images, key(0, "score")))
    with torch.no_grad():
        eps, _ = flow(x)
    for level, expected in zip(found, eps, strict=True):
        assert level.n == expected.numel()
        assert level.mean == pytest.approx(expected.double().mean().item(), abs=1e-5)
        assert level.sd == pytest.approx(expected.double().std(correction=0).item(), rel=1e-5)


def test_overflowing_images_are_left_out_of_levels(table: ImageTable) -> None:
    flow = overflowing()
    found = measure_images(flow, Batches(table, 8, CPU), seed=0)
    assert found.bits_per_dim == math.inf
    assert found.by_level.n_not_finite > 0
    assert found.by_level.n + found.by_level.n_not_finite == 21
    images = IMAGES >> 4
    with torch.no_grad():
        bits = flow.bits_per_dim(flow.log_prob(images, content_noise(images, key(0, "score"))).double())
    assert found.by_level.total == pytest.approx(bits[bits.isfinite()].mean().item(), rel=1e-4)
    assert not np.isfinite(found.least_likely.bits_per_dim[0])


def test_size_of_the_batch_changes_no_count(table: ImageTable) -> None:
    one, many = (measure_images(jittered_glow(), Batches(table, size, CPU), seed=0) for size in (1, 21))
    for a, b in zip(one.latents, many.latents, strict=True):
        assert np.abs(a.counts - b.counts).sum() <= 4  # of float32 elements at an edge
        assert a.mean == pytest.approx(b.mean, abs=1e-6)
