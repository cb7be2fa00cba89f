import numpy as np
import pytest
import torch

from glow_pipeline.outliers import kept_images
from glow_pipeline.outliers.kept_images import keep_images, nearest
from tests.conftest import MakeTable, random_images


def test_kept_images_are_spread_over_the_table(make_table: MakeTable) -> None:
    images = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    kept = keep_images(make_table(images, 8), 10, seed=3)
    levels = kept[:, 0, 0, 0].tolist()
    assert kept.shape == (10, 1, 8, 8)
    assert {level // 10 for level in levels} == set(range(10))
    assert np.array_equal(kept, keep_images(make_table(images, 8), 10, seed=3))
    assert not np.array_equal(kept, keep_images(make_table(images, 8), 10, seed=4))


def test_equal_images_are_kept_once(make_table: MakeTable) -> None:
    images = random_images(3)
    kept = keep_images(make_table(torch.cat([images] * 4), 4), 10, seed=0)
    assert sorted(image.tobytes() for image in kept) == sorted(image.numpy().tobytes() for image in images >> 4)


@pytest.mark.parametrize("n_images", [0, 5])
def test_none_are_kept_where_none_are_wanted(make_table: MakeTable, n_images: int) -> None:
    table = make_table(random_images(5), 4).subset(np.arange(n_images))
    assert keep_images(table, 0 if n_images else 10, seed=0).shape == (0, 1, 8, 8)


def test_large_images_are_kept_within_a_limit(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_images, "MOST_BYTES", 64 * 3 + 1)
    with caplog.at_level("INFO"):
        assert len(keep_images(make_table(random_images(9), 4), 5, seed=0)) == 3
    assert caplog.messages == ["calibrate.kept_images=5: the detector keeps 3, of 32 MiB together"]


def test_nearest_images_come_first() -> None:
    kept = np.array([9, 200, 4, 0], dtype=np.uint8).reshape(4, 1, 1, 1)
    assert nearest(kept, np.full((1, 1, 1), 3, dtype=np.uint8), 3).flatten().tolist() == [4, 0, 9]
    assert len(nearest(kept[:0], kept[0], 3)) == 0
