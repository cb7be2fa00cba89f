import pytest
import torch

from glow_pipeline.images.augmentation import mirror_half, mutate
from glow_pipeline.randomness import generator
from tests.conftest import random_images


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_itself_or_its_mirror_image(channels: int) -> None:
    images = random_images(64, channels, (6, 5))
    mirrored = mirror_half(images, generator(0, "flip"))
    which = []
    for before, after in zip(images.numpy(), mirrored.numpy(), strict=True):
        itself, mirror = (before == after).all(), (before[:, :, ::-1] == after).all()
        assert itself != mirror
        which.append(bool(mirror))
    assert set(which) == {True, False}


def test_about_half_of_the_images_are_mirrored() -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(2000, 1, 1, 2)
    n_mirrored = int((mirror_half(images, generator(0, "flip"))[:, 0, 0, 0] == 1).sum())
    assert 900 < n_mirrored < 1100  # 1000 are expected, with a standard deviation of 22


def test_every_row_is_mirrored_sometimes() -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(8, 1, 1, 2)
    batches = torch.stack([mirror_half(images, generator(0, "flip", step))[:, 0, 0, 0] for step in range(200)])
    assert batches.float().mean(dim=0).sub(0.5).abs().max() < 0.15  # standard deviation 0.035


def test_the_generator_alone_decides() -> None:
    images = random_images(64)
    drawn = [mirror_half(images, generator(0, "flip", step)) for step in (0, 1, 0)]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 3, 2, 7), (5, 1, 1, 1)])
def test_shape_type_and_input_stay_unchanged(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, generator=generator(1, "test")).to(dtype)
    before = images.clone()
    mirrored = mirror_half(images, generator(0, "flip"))
    assert mirrored.shape == images.shape
    assert mirrored.dtype == dtype
    assert torch.equal(images, before)


# Mutation -----------------------------------------------------------------------------------------


def test_mutated_share_of_values_is_as_requested() -> None:
    images = torch.full((50, 3, 10, 10), 200, dtype=torch.uint8)
    mutated = mutate(images, 0.3, 256, generator(0, "mutate"))
    assert 0.28 < (mutated != images).float().mean() < 0.32  # 0.3 * 255 / 256, with a standard deviation of 0.004


def test_mutated_values_are_uniform() -> None:
    images = torch.zeros(1000, 1, 4, 4, dtype=torch.uint8)
    mutated = mutate(images, 0.999, 4, generator(0, "mutate"))
    shares = torch.bincount(mutated.flatten().long(), minlength=4) / mutated.numel()
    assert len(shares) == 4
    assert (shares - 0.25).abs().max() < 0.02  # standard deviation 0.003


def test_mutations_are_drawn_by_place_in_the_batch() -> None:
    images = random_images(6)
    together = mutate(images, 0.5, 256, generator(0, "mutate", 3))
    part = mutate(images[2:4], 0.5, 256, generator(0, "mutate", 3), 6, slice(2, 4))
    assert torch.equal(part, together[2:4])
    assert not torch.equal(together, mutate(images, 0.5, 256, generator(0, "mutate", 4)))


def test_mutation_of_no_value_changes_nothing() -> None:
    images = random_images(6)
    assert torch.equal(mutate(images, 0.0, 256, generator(0, "mutate")), images)
