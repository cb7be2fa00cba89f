"""How long ingest, scoring and training take, and how large tables are, for 1 M, 100 M and 10 B images.

    python benchmarks/capacity.py [--seconds 5]

Measures the scoring of one CPU thread here, by its CPU time; takes the other rates from docs/results, where each stands
with its command; and multiplies. Prints a Markdown table. Nothing above 200,000 images was measured in one piece: what
grows with the number of images is proportional to it here, and n machines are n times as fast.
"""

import argparse
import time
from collections.abc import Callable

import click
import torch

from glow_pipeline.flow import Glow
from glow_pipeline.images.content import content_noise
from glow_pipeline.randomness import generator
from glow_pipeline.training.forecast import duration

SETS = {"1 M": 10**6, "100 M": 10**8, "10 B": 10**10}
PART = 2**28  # bytes
NETWORK = 10e9 / 8  # bytes a second, of 10 Gbit/s
JPEG = 14_000  # bytes, of 256x256

# Images a second, from docs/results/ingest.md: JPEGs of 256x256 to 3x32x32 by two workers on two cores.
INGEST_CORE = 2_497 / 2
CHECKSUM = 6_542
# From docs/results/gpu.md: one H200, 3x32x32, float32 for scores, bfloat16 for training with batches of 512.
SCORE_SMALL, SCORE_LARGE = 108_200, 2_879
TRAIN_SMALL, TRAIN_LARGE = 81_432, 9_896


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="time that the scoring is measured")
    thread = score_rate(parser.parse_args().seconds)
    rows: dict[str, Callable[[int], str]] = {
        "table of 3x32x32": lambda n: size(n * 3 * 32 * 32),
        "table of 3x64x64": lambda n: size(n * 3 * 64 * 64),
        "... in parts of 256 MiB": lambda n: f"{-(-n * 3 * 64 * 64 // PART):,}",
        "... copied to a node (`train.stage`) at 10 Gbit/s": lambda n: spell(n * 3 * 64 * 64 / NETWORK),
        "JPEGs of 14 kB": lambda n: size(n * JPEG),
        "their checksums, one machine": lambda n: spell(n / CHECKSUM),
        "ingest, 2 cores": lambda n: spell(n / INGEST_CORE / 2),
        "ingest, 64 cores": lambda n: spell(n / INGEST_CORE / 64),
        "ingest, 1,024 cores": lambda n: spell(n / INGEST_CORE / 1024),
        f"score K=8 hidden 64, one CPU thread ({thread:,.0f} images/s)": lambda n: spell(n / thread),
        "score K=8 hidden 64, one H200 / 8": lambda n: both(n / SCORE_SMALL),
        "score K=32 hidden 512, one H200 / 8": lambda n: both(n / SCORE_LARGE),
        "a pass of training, K=8 hidden 64, one H200": lambda n: spell(n / TRAIN_SMALL),
        "a pass of training, K=32 hidden 512, one H200": lambda n: spell(n / TRAIN_LARGE),
    }
    click.echo(f"| | {' | '.join(SETS)} |\n|---|{'---|' * len(SETS)}")
    for name, value in rows.items():
        click.echo(f"| {name} | {' | '.join(value(n) for n in SETS.values())} |")


def score_rate(seconds: float) -> float:
    """Return images of 3x32x32 that K=8 L=3 hidden 64 scores in a second of one CPU thread."""
    torch.set_num_threads(1)
    flow = Glow((3, 32, 32), K=8, L=3, hidden_channels=64, generator=generator(0, "weights")).eval()
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=generator(0, "images"), dtype=torch.uint8)
    with torch.no_grad(), flow.unchanging():
        flow.log_prob(images, content_noise(images, 0))  # folds the parameters
        done, started = 0, time.process_time()
        while done == 0 or time.process_time() - started < seconds:
            flow.log_prob(images, content_noise(images, 0))
            done += len(images)
        return done / (time.process_time() - started)


def size(n_bytes: float) -> str:
    """Return a size in words."""
    unit, name = next((unit, name) for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if n_bytes >= unit)
    return f"{n_bytes / unit:.{0 if n_bytes >= 10 * unit else 1}f} {name}"


def both(seconds: float) -> str:
    """Return a duration on one GPU and on eight, which do not wait for each other."""
    return f"{spell(seconds)} / {spell(seconds / 8)}"


def spell(seconds: float) -> str:
    """Return a duration in words."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


if __name__ == "__main__":
    main()
