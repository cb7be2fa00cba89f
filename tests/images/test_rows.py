import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glow_pipeline.images import rows as rows_module
from glow_pipeline.images.rows import BLOCK, CHUNK, PackedRows, as_array, packed, random_order, rows_where
from glow_pipeline.randomness import generator


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 100_003])
def test_order_is_that_of_torch(n: int) -> None:
    order = random_order(n, generator(3, "order"))
    assert order.dtype == np.int32
    assert order.tolist() == torch.randperm(n, generator=generator(3, "order")).tolist()


@given(values=st.lists(st.integers(0, 2), max_size=20), value=st.integers(0, 2))
def test_rows_where_are_those_of_numpy(values: list[int], value: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "CHUNK", 7)
        rows = rows_where(np.array(values, dtype=np.uint8), value)
    assert list(rows) == np.flatnonzero(np.array(values) == value).tolist()


def test_many_increasing_rows_are_sent_as_bits() -> None:
    count = 2 * CHUNK + 5
    rows = np.flatnonzero(np.arange(count) % 3 != 1).astype(np.int32)
    sent = pickle.dumps(packed(rows, count))
    assert len(sent) < count / 8 + 1000
    received = pickle.loads(sent)
    assert isinstance(received, PackedRows)
    again = received[:]
    assert isinstance(again, np.ndarray)
    assert again.dtype == np.int32
    assert np.array_equal(again, rows)


@pytest.mark.parametrize("rows", [[3, 1, 2], [1, 1, 2], [99]], ids=["in any order", "twice", "few"])
def test_other_rows_are_sent_as_they_are(rows: list[int]) -> None:
    given = np.array(rows, dtype=np.int32)
    assert packed(given, 100 if len(rows) == 1 else 4) is given


MARKED = st.lists(st.sampled_from([0, 0, 1, 1, 255, 7]), max_size=4 * BLOCK).map(
    lambda some: np.unpackbits(np.array([*some, 16], dtype=np.uint8))
)


@given(marked=MARKED, data=st.data())
def test_packed_rows_are_indexed_as_an_array(marked: NDArray[np.uint8], data: st.DataObject) -> None:
    rows, expected = PackedRows(np.packbits(marked)), np.flatnonzero(marked)
    n = len(expected)
    some = np.array(data.draw(st.lists(st.integers(-n, n - 1), max_size=9)), dtype=np.int64)
    assert list(rows) == as_array(rows).tolist() == expected.tolist()
    assert (len(rows), rows[n - 1], rows[-n]) == (n, expected[-1], expected[0])
    for places in (data.draw(st.slices(n)), some):
        assert rows[places].dtype == np.int32
        assert rows[places].tolist() == expected[places].tolist()
    with pytest.raises(IndexError, match=f"there are {n} images"):
        rows[n]


def test_rows_of_large_tables_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "LARGE", 64)
    values = np.arange(64) % 16
    assert isinstance(rows_where(values != 3, True), PackedRows)
    assert list(rows_where(values != 3, True)) == np.flatnonzero(values != 3).tolist()
    assert isinstance(rows_where(np.arange(64), 3), np.ndarray)  # few
    assert isinstance(rows_where(values[:63] != 3, True), np.ndarray)
