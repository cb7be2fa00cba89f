import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.images.content import GOLDEN, content_hash, mix
from tests.conftest import MakeTable, random_images


@given(st.integers(-(2**63), 2**63 - 1))
def test_mix_is_splitmix64(number: int) -> None:
    z = number * GOLDEN % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    assert int(mix(torch.tensor([number]))[0]) % 2**64 == z


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
    monkeypatch.setattr("glow_pipeline.images.content.CHUNK_VALUES", 130)
    assert torch.equal(content_hash(images), alone)
    assert content_hash(images[:0]).shape == (0,)


def test_hash_ignores_memory_layout() -> None:
    images = random_images(4, channels=3)
    assert torch.equal(content_hash(images), content_hash(images.to(memory_format=torch.channels_last)))


def test_hashes_of_a_hundred_thousand_images_differ() -> None:
    images = random_images(100_000, size=(2, 4))
    distinct = len(np.unique(images.flatten(1).numpy(), axis=0))
    assert len(content_hash(images).unique()) == distinct


def test_table_keeps_each_images_hash(make_table: MakeTable) -> None:
    images = random_images(25)
    table = make_table(images, 8)
    assert table.content_hashes.tolist() == content_hash(images).tolist()
    assert table.subset(np.array([7, 2])).content_hashes.tolist() == content_hash(images[[7, 2]]).tolist()


def test_without_leaves_out_exact_copies(make_table: MakeTable) -> None:
    images = random_images(6)
    images[4] = images[1]
    table = make_table(images, 8)
    assert table.without(table.content_hashes[1:2]).rows.tolist() == [0, 2, 3, 5]
