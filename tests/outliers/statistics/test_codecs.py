import io
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.outliers.statistics import codecs
from tests.outliers.slow import slow_bits_per_dim, small_batch


@pytest.mark.parametrize("channels", [1, 3])
def test_size_is_that_of_the_smallest_file(channels: int) -> None:
    batch = small_batch(5, channels, size=16)
    got = codecs.compressed_bits_per_dim(batch)
    assert got.dtype == torch.float64
    assert got.numpy() == pytest.approx(slow_bits_per_dim(batch))


@pytest.mark.parametrize("shape", [(1, 16, 12), (3, 16, 12)])
def test_codecs_are_lossless(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = codecs._picture(image)
    codecs.smallest_sizes(image[None])  # registers the optional codec
    for name in codecs.codec_versions():
        file = io.BytesIO()
        picture.save(file, **codecs.CODECS[name])
        with Image.open(file) as read:
            got = np.asarray(read.convert("RGB"))
        assert (got == np.dstack(list(image) * (3 // len(image)))).all(), name


def test_constants_are_smaller_than_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8)
    constant, noisy = codecs.smallest_sizes(np.concatenate([np.zeros_like(noise), noise]))
    assert constant < 100
    assert noisy > 32 * 32


def test_size_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 64, (7, 1, 8, 8), dtype=np.uint8)
    together = codecs.smallest_sizes(images)
    assert together.tolist() == [codecs.smallest_sizes(image[None])[0] for image in images]
    monkeypatch.setattr(codecs, "usable_cores", lambda: 16)
    assert codecs.smallest_sizes(images).tolist() == together.tolist()


def test_versions_name_the_available_codecs() -> None:
    versions = codecs.codec_versions()
    assert list(versions)[:1] == ["png"]
    assert ("jxl" in versions) == (find_spec("pillow_jxl") is not None)
    assert all(any(character.isdigit() for character in version) for version in versions.values())


def test_draws_share_the_compressed_size() -> None:
    batch = small_batch(2)
    assert batch.once_for_images(codecs.compressed_bits) is batch.once_for_images(codecs.compressed_bits)
