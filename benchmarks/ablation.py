"""Leave out each statistic of the score `density_sum` once, and use each alone.

    python benchmarks/ablation.py [--model <file>] [--images 500] [--threads 2]

Fits each variant of the score to the validation images of a stored model, by default of the newest of Fashion-MNIST in
`data/06_models`, and separates at most that many of its test images from as many of each set of the pipeline
`benchmark` that is on disk: sets of other images and changed images of its own, without the controls. Every statistic
is computed once. Prints the AUROC of each variant on each set, and their mean, as a table in Markdown.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from glow_pipeline.flow import Glow
from glow_pipeline.images.batches import Batches
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.outliers.benchmark.changed_images import ChangedImages
from glow_pipeline.outliers.benchmark.image_changes import CHANGES
from glow_pipeline.outliers.benchmark.in_sets import draw, in_sets
from glow_pipeline.outliers.benchmark.out_sets import CONTROLS, out_set_names, selection_of
from glow_pipeline.outliers.metrics import detection_metrics
from glow_pipeline.outliers.scores.density_sum import GRID, LEVELS, LEVELS_OF_FLOW, PLANE, DensitySum, Part
from glow_pipeline.outliers.scores.nll import bits_per_dim
from glow_pipeline.outliers.scoring import described_batches
from glow_pipeline.outliers.statistics.codecs import compressed_bits_per_dim
from glow_pipeline.outliers.statistics.latents import autocorrelation, level_log_prob, mean
from glow_pipeline.training.model_file import read_model
from glow_pipeline.training.models_with_detectors import newest_model
from glow_pipeline.training.parts_of import parts_of

DATA = Path(__file__).parents[1] / "data"
RAW = DATA / "01_raw"
Columns = Mapping[str, NDArray[np.float64]]  # the numbers of each part by its name: (n, columns)

# Each statistic is a part of its own with the density of the part that it is taken from.
LOG_PROB = LEVELS._replace(name="log-prob", statistics=(level_log_prob,), per_level=1, fixed=0)
SIZE = LEVELS._replace(name="compressed size", statistics=(compressed_bits_per_dim,), per_level=0, fixed=1)
AUTOCORRELATION = LEVELS._replace(name="autocorrelation", statistics=(autocorrelation,), per_level=1, fixed=0)
MEAN = LEVELS._replace(name="mean", statistics=(mean,), per_level=1, fixed=0)
NLL = PLANE._replace(name="nll", statistics=(bits_per_dim,), fixed=1)
EACH_ONCE = DensitySum(parts=(LOG_PROB, SIZE, AUTOCORRELATION, MEAN, GRID, NLL))


def without(part: Part, left_out: Part) -> Part:
    """Return the part without a statistic."""
    return part._replace(
        statistics=tuple(statistic for statistic in part.statistics if statistic not in left_out.statistics),
        per_level=part.per_level - left_out.per_level,
        fixed=part.fixed - left_out.fixed,
    )


VARIANTS: dict[str, tuple[Part, ...]] = {
    "`density_sum`": (LEVELS, GRID, PLANE),
    "`density_sum_flow`": (LEVELS_OF_FLOW, GRID),
    "without levels": (GRID, PLANE),
    "without grid": (LEVELS, PLANE),
    "without plane": (LEVELS, GRID),
    **{
        f"levels without {each.name}": (without(LEVELS, each), GRID, PLANE)
        for each in (LOG_PROB, SIZE, AUTOCORRELATION, MEAN)
    },
    **{f"{each.name} alone": (each,) for each in (LEVELS, GRID, PLANE, LOG_PROB, SIZE, AUTOCORRELATION, MEAN, NLL)},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="file of a stored model; default: the newest of Fashion-MNIST")
    parser.add_argument("--images", type=int, default=500, help="images of each set at most")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = arguments.model or newest_model(DATA / "06_models", "fashionmnist")
    if path is None:
        parser.error("no stored model of Fashion-MNIST; train one, or name a file with --model")
    model = read_model(path)
    seed, flow = int(model.record.parameters["seed"]), model.flow.eval()
    inside, image_format = model.record.train_table.image_selection, model.record.image_format

    with tempfile.TemporaryDirectory() as folder:

        def table(selection: ImageSelection, split: Split) -> ImageTable:
            path = Path(folder) / f"{selection.key}_{split}"
            plan_table(selection, split, image_format, RAW).write(path)
            return ImageTable(path)

        def numbers(images: ImageTable) -> Columns:
            return described(flow, images, seed)

        validation = numbers(parts_of(model.record, table(inside, "train")).validation)
        tested = in_sets(table(inside, "test"), arguments.images, seed)
        scored, originals = numbers(tested.scored), draw(tested.originals, arguments.images, seed)
        auroc: dict[str, list[float]] = {name: [] for name in VARIANTS}
        fitted = {
            name: DensitySum(parts=parts).fit(joined(validation, parts), seed) for name, parts in VARIANTS.items()
        }
        names = [name for name in out_set_names(["all"], inside, RAW) if name not in CONTROLS]
        for name in names:
            selection, compared = selection_of(name), scored
            if selection is None:
                outside = numbers(ChangedImages(originals, CHANGES[name], seed))
                compared = {part: values[tested.in_first_half] for part, values in scored.items()}
            else:
                outside = numbers(draw(table(selection, "test"), arguments.images, seed))
            for variant, parts in VARIANTS.items():
                in_scores, out_scores = (fitted[variant].score(joined(each, parts)) for each in (compared, outside))
                auroc[variant].append(area(in_scores, out_scores))
    print_table(names, auroc)


def described(model: Glow, images: ImageTable, seed: int) -> Columns:
    """Return every statistic of each image, by the name of its part."""
    parts: dict[str, list[NDArray[np.float64]]] = {part.name: [] for part in EACH_ONCE.parts}
    batches = Batches(images, 256, torch.device("cpu"))
    for batch in described_batches(model, batches, [EACH_ONCE], seed, 1, images.record.name):
        for part, values in EACH_ONCE.divided(batch[EACH_ONCE.name]):
            parts[part.name].append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def joined(columns: Columns, parts: Sequence[Part]) -> NDArray[np.float64]:
    """Return the columns of a variant (n, d), in the order of its parts and of their statistics."""
    found = {part.statistics[0]: columns[part.name] for part in EACH_ONCE.parts}
    return np.concatenate([found[statistic] for part in parts for statistic in part.statistics], axis=1)


def area(in_scores: NDArray[np.float64], out_scores: NDArray[np.float64]) -> float:
    """Return the AUROC, outliers positive."""
    is_out = np.repeat([False, True], [len(in_scores), len(out_scores)])
    return detection_metrics(is_out, np.concatenate([in_scores, out_scores]))["auroc"]


def print_table(names: Sequence[str], auroc: Mapping[str, Sequence[float]]) -> None:
    """Print a row a variant and a column a set, and the mean over the sets."""
    print(f"| score | mean | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")  # noqa: T201
    for variant, each in auroc.items():
        cells = [f"{area:.3f}".lstrip("0") for area in (np.mean(each), *each)]
        print(f"| {variant} | {' | '.join(cells)} |")  # noqa: T201


if __name__ == "__main__":
    main()
