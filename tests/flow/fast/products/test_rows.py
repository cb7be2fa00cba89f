import pytest
import torch

from glow_pipeline.flow.fast.products.rows import products_of_rows
from tests.flow.helpers import gaussian


@pytest.mark.parametrize("rows", [96, 4096, 4097])
def test_products_of_rows_are_exact_however_split(rows: int) -> None:
    a, b = gaussian(2, rows, 5), gaussian(2, rows, 7, seed=1)
    torch.testing.assert_close(products_of_rows(a, b), a.transpose(1, 2) @ b)
