"""Measure what outlier scores cost beside the log-likelihood alone: milliseconds an image, and the factor.

    python benchmarks/outlier_scores.py [--images 2000] [--rounds 3] [--threads 2] [--cpu] [--own]

A Glow of the preset `fashionmnist` (K=8, L=3, hidden 64), initialised from images and untrained, scores Fashion-MNIST
test images of 1x32x32 from `data/01_raw` in batches of 256. Measured by turns, after the fits on 1,000 other images:
the log-likelihood alone, all one-pass scores with a fixed number in place of the codecs, the codecs alone, the fits,
and with --own each score that needs passes of its own, on an eighth of the images. The median of the rounds counts.
Prints a table in Markdown, and exits with 1 if the one-pass scores without codecs take more than 1.3 times as long as
the log-likelihood alone.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scoring import fit_scores, score_table
from glow_pipeline.outliers.statistics import codecs

RAW = Path(__file__).parents[1] / "data" / "01_raw"
N_VALIDATION = 1000
CPU = torch.device("cpu")
Works = dict[str, tuple[Callable[[], object], int]]  # name -> what is measured, and its number of images
LIMIT = 1.3  # the promised factor of all one-pass scores without their codecs


def main() -> None:
    """Print the table, and exit by the promised limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="images to score")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each; the median counts")
    parser.add_argument("--own", action="store_true", help="measure the scores with passes of their own too")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads")
    parser.add_argument("--cpu", action="store_true", help="count CPU time of all threads: other programs run too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.cpu else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        images = fashion_images(Path(folder))
        validation, test = images.subset(np.arange(N_VALIDATION)), images.subset(np.arange(arguments.images) + 1000)
        works = works_to_measure(initialised_glow(validation), validation, test, arguments.own)
        milliseconds = measured(works, arguments.rounds, clock)
    factors = {name: each / milliseconds["log-likelihood"] for name, each in milliseconds.items()}
    print("| what | ms an image | x log-likelihood |\n|---|---|---|")  # noqa: T201
    for name, each in milliseconds.items():
        print(f"| {name} | {each:.3f} | {factors[name]:.2f} |")  # noqa: T201
    sys.exit(0 if factors["all one-pass scores, without codecs"] <= LIMIT else 1)


def works_to_measure(model: Glow, validation: ImageTable, test: ImageTable, own: bool) -> Works:
    """Return what is measured by name, and the number of images of each."""
    nll, one_pass = [SCORES["nll"]], [score for score in SCORES.values() if score.cost == "one pass"]
    few = test.subset(np.arange(len(test) // 8))
    with_codecs = fit_scores(model, batches(validation), one_pass, 0)
    with fixed_sizes():
        without = fit_scores(model, batches(validation), one_pass, 0)

    def score_without_codecs() -> None:
        with fixed_sizes():
            score_table(model, batches(test), without, 0)

    pixels = test[np.arange(len(test))][0].numpy()
    works: Works = {
        "log-likelihood": (lambda: score_table(model, batches(test), nll, 0), len(test)),
        "all one-pass scores, without codecs": (score_without_codecs, len(test)),
        "all one-pass scores": (lambda: score_table(model, batches(test), with_codecs, 0), len(test)),
        "codecs " + "+".join(codecs.codec_versions()): (lambda: codecs.smallest_sizes(pixels), len(test)),
        "fit of all one-pass scores": (lambda: fit_scores(model, batches(validation), one_pass, 0), len(validation)),
    }
    if own:
        for score in SCORES.values():
            if score.cost == "own passes" and score.needs is None:
                (fitted,) = fit_scores(model, batches(few), [score], 0)
                works[score.name] = (scoring(model, few, [fitted]), len(few))
    return works


def measured(works: Works, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the median milliseconds an image of each work, measured by turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, n) in works.items():
            started = clock()
            work()
            times[name].append(1000 * (clock() - started) / n)
    return {name: statistics.median(each) for name, each in times.items()}


def scoring(model: Glow, images: ImageTable, scores: Sequence[Score]) -> Callable[[], object]:
    """Return a function that scores the images."""
    return lambda: score_table(model, batches(images), scores, 0)


def batches(images: ImageTable) -> Batches:
    """Return the images in batches on the CPU."""
    return Batches(images, 256, CPU)


def fixed_sizes() -> AbstractContextManager[object]:
    """Give each image a size that depends on its pixels, without a codec, inside the block."""

    def sizes(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return 300 + images.reshape(len(images), -1)[:, ::37].mean(axis=1, dtype=np.float64)

    return patch.object(codecs, "smallest_sizes", sizes)


def fashion_images(folder: Path) -> ImageTable:
    """Return the test images of Fashion-MNIST, padded to 32x32."""
    image_format = ImageFormat(channels=1, height=32, width=32, n_bits=8, fit="pad")
    plan_table(ImageSelection.of("fashionmnist"), "test", image_format, RAW).write(folder / "test")
    return ImageTable(folder / "test")


def initialised_glow(images: ImageTable) -> Glow:
    """Return an untrained flow whose actnorms were set from the first images."""
    generator = torch.Generator().manual_seed(0)
    model = Glow((1, 32, 32), K=8, L=3, hidden_channels=64, generator=generator)
    first = images[np.arange(256)][0]
    model.initialize(model.dequantization.dequantize(first, generator)[0])
    return model.eval()


if __name__ == "__main__":
    main()
