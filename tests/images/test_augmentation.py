import pytest
import torch

from glow_pipeline.images.augmentation import mirror_half
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
