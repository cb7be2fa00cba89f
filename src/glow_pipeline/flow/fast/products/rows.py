"""Products of matrices with many rows, which are the gradients of weights."""

import torch
from torch import Tensor

PARALLEL_TILES = 128  # about the tiles of products that a large GPU computes at once
TILE = 128


def products_of_rows(a: Tensor, b: Tensor) -> Tensor:
    """Return a^T b for each of several steps: (n, rows, p) and (n, rows, q) -> (n, p, q).

    Products with few tiles have their rows split into parts until they fill a GPU; the parts are summed in float32.
    """
    n, rows, p = a.shape
    q = b.shape[2]
    parts, tiles = 1, n * -(-p // TILE) * -(-q // TILE)
    while parts * tiles < PARALLEL_TILES and rows % (2 * parts) == 0 and rows // parts >= 4 * TILE:
        parts *= 2
    if parts == 1:
        return torch.bmm(a.transpose(1, 2), b)
    a, b = (each.reshape(n * parts, rows // parts, -1) for each in (a, b))
    a = a.transpose(1, 2)
    widened = a.is_cuda and torch.version.hip is None and a.dtype == torch.bfloat16  # others have no such product
    products = torch.bmm(a, b, out_dtype=torch.float32) if widened else torch.bmm(a, b)
    return products.view(n, parts, p, q).sum(dim=1).to(a.dtype)
