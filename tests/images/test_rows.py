import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.images import rows as rows_module
from glow_pipeline.images.rows import CHUNK, PackedRows, packed, random_order, rows_where
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
    again = received.unpacked()
    assert isinstance(again, np.ndarray)
    assert again.dtype == np.int32
    assert np.array_equal(again, rows)


@pytest.mark.parametrize("rows", [[3, 1, 2], [1, 1, 2], [99]], ids=["in any order", "twice", "few"])
def test_other_rows_are_sent_as_they_are(rows: list[int]) -> None:
    given = np.array(rows, dtype=np.int32)
    assert packed(given, 100 if len(rows) == 1 else 4) is given
