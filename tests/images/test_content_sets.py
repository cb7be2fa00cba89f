from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.images import content_sets
from glow_pipeline.images.content_sets import are_among, count_distinct, distinct

HASHES = st.lists(st.one_of(st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1])), max_size=12)


@given(hashes=HASHES, known=st.lists(HASHES, max_size=3))
def test_hashes_among_others_are_those_of_numpy(hashes: list[int], known: list[list[int]]) -> None:
    own, others = np.array(hashes, dtype=np.int64), [np.array(each, dtype=np.int64) for each in known]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_sets, "CHUNK", 5)
        found = are_among(own, others)
    assert found.tolist() == np.isin(own, np.array(list(chain.from_iterable(known)), dtype=np.int64)).tolist()


@given(hashes=HASHES)
def test_distinct_hashes_are_counted_by_range(hashes: list[int]) -> None:
    every = np.array(hashes, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_sets, "AT_ONCE", 2)
        assert count_distinct([every[:3], every[3:]]) == len(set(hashes))


@given(tables=st.lists(HASHES, max_size=3))
def test_distinct_hashes_are_sorted(tables: list[list[int]]) -> None:
    given_tables = [np.array(each, dtype=np.int64) for each in tables]
    assert distinct(given_tables).tolist() == sorted(set(chain.from_iterable(tables)))
    assert [each.tolist() for each in given_tables] == tables  # none is changed
