"""Whether the log-probability of an image on a CPU depends on the batch that it is in, to the last bit.

    python benchmarks/batch_bits.py [--images 130]

Prints for flows of some sizes, for one and two threads, and for each size of a batch, how many images have other bits
than in batches of 256.
"""

import argparse

import torch

from glow_pipeline.flow import Glow

FLOWS = (((1, 8, 8), 1, 2, 4), ((1, 28, 28), 8, 2, 64), ((3, 32, 32), 4, 3, 64))  # shape, K, L, hidden channels
SIZES = (1, 2, 3, 5, 8, 31, 64, 130)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=130)
    n = parser.parse_args().images
    print(f"| flow | threads | {' | '.join(map(str, SIZES))} |")  # noqa: T201
    print(f"|{'---|' * (2 + len(SIZES))}")  # noqa: T201
    for shape, K, L, hidden_channels in FLOWS:
        flow = moved_flow(shape, K, L, hidden_channels)
        random = torch.Generator().manual_seed(1)
        images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=random)
        noise = torch.rand(n, *shape, generator=random)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            usual = log_prob(flow, images, noise, 256)
            found = [int((log_prob(flow, images, noise, size) != usual).sum()) for size in SIZES]
            name = f"{'x'.join(map(str, shape))}, K={K} L={L} hidden {hidden_channels}"
            print(f"| {name} | {threads} | {' | '.join(map(str, found))} |")  # noqa: T201


def moved_flow(shape: tuple[int, int, int], K: int, L: int, hidden_channels: int) -> Glow:
    """Return a flow with every weight moved, so that no layer is the identity."""
    random = torch.Generator().manual_seed(3)
    flow = Glow(image_shape=shape, K=K, L=L, hidden_channels=hidden_channels, n_bits=8, generator=random)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    for name, buffer in flow.named_buffers():
        if name.endswith("initialized"):
            buffer.fill_(True)
    return flow.eval()


@torch.no_grad()
def log_prob(flow: Glow, images: torch.Tensor, noise: torch.Tensor, size: int) -> torch.Tensor:
    """Return log p (n,), computed in batches of a size."""
    return torch.cat([flow.log_prob(images[i : i + size], noise[i : i + size]) for i in range(0, len(images), size)])


if __name__ == "__main__":
    main()
