import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from glow_pipeline.plots.movie import Movie


@given(st.integers(1, 12))
def test_movie_plays_each_turning_point_once(n: int) -> None:
    movie = Movie(Figure(), [np.full((1, 1, 3), i, dtype=np.uint8) for i in range(n)])
    order = [int(frame[0, 0, 0]) for frame in movie.played]
    assert order == [*range(n), *range(n - 2, 0, -1)]
    # Played in a loop, each frame is the neighbour of the next.
    assert n == 1 or all(abs(a - b) == 1 for a, b in zip(order, [*order[1:], order[0]], strict=True))
    assert len(movie.frames) == n
