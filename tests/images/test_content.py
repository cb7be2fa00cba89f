import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glow_pipeline.images.content import CHUNK_VALUES, GOLDEN, content_hash, content_noise, mix
from tests.conftest import MakeTable, random_images


def splitmix64(number: int) -> int:
    z = number * GOLDEN % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@given(st.integers(-(2**63), 2**63 - 1))
def test_mix_is_splitmix64(number: int) -> None:
    assert int(mix(torch.tensor([number]))[0]) % 2**64 == splitmix64(number)


def test_any_changed_pixel_changes_the_hash() -> None:
    image = random_images(1, channels=3, size=(4, 5))
    changed = image.repeat(61, 1, 1, 1)
    for pixel in range(60):
        changed[pixel + 1].view(-1)[pixel] ^= 1
    assert len(content_hash(changed).unique()) == 61


def test_swapped_pixels_change_the_hash() -> None:
    images = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]], dtype=torch.uint8).view(3, 1, 2, 2)
    assert len(content_hash(images).unique()) == 3


def test_hash_is_the_same_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(9)
    alone = torch.cat([content_hash(image[None]) for image in images])
    monkeypatch.setitem(CHUNK_VALUES, "cpu", 130)
    assert torch.equal(content_hash(images), alone)
    assert content_hash(images[:0]).shape == (0,)


def test_hash_ignores_memory_layout() -> None:
    images = random_images(4, channels=3)
    assert torch.equal(content_hash(images), content_hash(images.to(memory_format=torch.channels_last)))


def test_hashes_of_a_hundred_thousand_images_differ() -> None:
    images = random_images(100_000, size=(2, 4))
    distinct = len(np.unique(images.flatten(1).numpy(), axis=0))
    assert len(content_hash(images).unique()) == distinct


@pytest.mark.parametrize("key", [0, 7, -(2**63), 2**63 - 1])
def test_noise_is_a_splitmix64_stream_an_image(key: int) -> None:
    images = random_images(3, channels=3, size=(2, 5))
    noise = content_noise(images, key)
    assert (noise.dtype, noise.shape) == (torch.float32, images.shape)
    for image, hashed, drawn in zip(images, content_hash(images).tolist(), noise, strict=True):
        start = splitmix64(hashed ^ key)
        expected = [(splitmix64(start + i) >> 40) / 2**24 for i in range(image.numel())]
        assert drawn.flatten().tolist() == expected


def test_noise_is_the_same_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(9)
    alone = torch.cat([content_noise(image[None], 3) for image in images])
    monkeypatch.setitem(CHUNK_VALUES, "cpu", 130)
    assert torch.equal(content_noise(images, 3), alone)
    assert torch.equal(content_noise(images.flip(0).to(memory_format=torch.channels_last), 3), alone.flip(0))
    assert content_noise(images[:0], 3).shape == images[:0].shape


def test_noise_is_uniform() -> None:
    similar = torch.arange(256, dtype=torch.uint8).repeat(4).view(1024, 1, 1, 1).repeat(1, 1, 32, 32)
    similar[256:, 0, 0, 0] += torch.arange(768).div(256, rounding_mode="floor").to(torch.uint8) + 1
    for images in (random_images(1024, size=(32, 32)), similar):
        noise = content_noise(images, 0).double().numpy()
        assert 0 <= noise.min() < 1e-4
        assert 1 - 1e-4 < noise.max() < 1
        assert stats.kstest(noise.ravel(), "uniform").pvalue > 1e-3
        counts = np.bincount((noise * 256).astype(int).ravel(), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-3
        low_bits = np.bincount((noise * 2**24).astype(int).ravel() % 256, minlength=256)
        assert stats.chisquare(low_bits).pvalue > 1e-3


def test_noise_of_pixels_images_and_keys_is_uncorrelated() -> None:
    images = random_images(64, size=(32, 32))
    images[1:33] = images[0]  # and 32 images that differ from it in one pixel
    images[1:33].view(32, -1)[torch.arange(32), torch.arange(32)] ^= 1
    noise = content_noise(images, 0).flatten(1)
    rows = torch.cat([noise, content_noise(images[:1], 1).flatten(1), images[:1].flatten(1).float()])
    between_images = torch.corrcoef(rows) - torch.eye(len(rows))
    assert between_images.abs().max() < 5.5 / 32  # standard deviations, of 1024 pixels
    for lag in (1, 2, 31, 32, 33):
        pair = torch.stack([noise[:, :-lag].flatten(), noise[:, lag:].flatten()])
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 5 / 256  # standard deviations, of 65,536 pixels


def test_table_keeps_each_images_hash(make_table: MakeTable) -> None:
    images = random_images(25)
    table = make_table(images, 8)
    assert table.content_hashes.tolist() == content_hash(images).tolist()
    assert table.subset(np.array([7, 2])).content_hashes.tolist() == content_hash(images[[7, 2]]).tolist()


def test_without_leaves_out_exact_copies(make_table: MakeTable) -> None:
    images = random_images(6)
    images[4] = images[1]
    table = make_table(images, 8)
    assert list(table.without(table.content_hashes[1:2]).rows) == [0, 2, 3, 5]
