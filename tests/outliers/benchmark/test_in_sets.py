"""Halves of the in-distribution test images: no changed image meets its own original."""

import numpy as np
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.rows import as_array
from glow_pipeline.outliers.benchmark.in_sets import draw, in_sets
from tests.conftest import MakeTable, random_images


@pytest.mark.parametrize(("n", "n_images"), [(9, None), (9, 3), (9, 5), (9, 7), (2, None), (9, 100)])
def test_originals_are_apart_from_the_compared(make_table: MakeTable, n: int, n_images: int | None) -> None:
    table = make_table(random_images(n), 8)
    scored, in_first_half, originals = in_sets(table, n_images, seed=0)
    assert len(scored) == min(n, n_images or n)
    assert len(originals) == min(n // 2, n_images or n)
    assert not set(scored.rows_at(in_first_half)) & set(originals.rows)
    assert in_first_half.any()
    assert (np.diff(as_array(scored.rows)) > 0).all()
    if n_images is None:
        assert set(scored.rows_at(~in_first_half)) == set(originals.rows)


def test_seed_draws_the_halves(make_table: MakeTable) -> None:
    table = make_table(random_images(20), 8)
    first, again, other = (list(in_sets(table, None, seed).originals.rows) for seed in (0, 0, 1))
    assert first == again != other


def test_one_test_image_is_refused(make_table: MakeTable) -> None:
    with pytest.raises(GlowPipelineError, match="tiny: 1 test image; a benchmark needs two"):
        in_sets(make_table(random_images(1), 8), None, seed=0)


def test_draw_keeps_order_and_number(make_table: MakeTable) -> None:
    table = make_table(random_images(9), 8)
    assert draw(table, None, 0) is table
    assert draw(table, 9, 0) is table
    drawn = as_array(draw(table, 4, 0).rows)
    assert len(drawn) == 4
    assert (np.diff(drawn) > 0).all()
