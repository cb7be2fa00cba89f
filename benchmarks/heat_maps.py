"""Measure heat maps: do they find a foreign patch, and do images without one stay dark?

    python benchmarks/heat_maps.py [--model <file>] [--images 1000] [--threads 2] [--choose] [--picture <file>]

Pastes patches of a quarter of the side at random places into test images of a stored model, by default of the newest of
Fashion-MNIST in `data/06_models`: strokes (crops of MNIST), textures (crops of photographs), crops of other test
images, flat mid-grey. A map's figure is the pixel AUROC of each image, patch positive, averaged over images and kinds,
with a 95% bootstrap interval over images, and its paired differences to Sobel and to the best control without a flow.
All maps are fitted to validation images. With --choose they are fitted to half of these and measured on the other half,
so that test images have no part in choosing among maps. Then the share of pixels above .99, which should be 1% in
images without a patch. --picture draws some of the images with their heat maps.

Prints tables in Markdown.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from heat_map_candidates import BLOCKS, SEED, SOBEL, Candidates, Values, traced
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.table import ImageTable
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.outliers.heat_maps.heat_map import HeatMap
from glow_pipeline.outliers.heat_maps.scale import brightness
from glow_pipeline.plots.surprise import surprise_pixels
from glow_pipeline.training.model_file import TrainedGlow, read_model
from glow_pipeline.training.models_with_detectors import newest_model
from glow_pipeline.training.parts_of import parts_of

DATA = Path(__file__).parents[1] / "data"
RAW = DATA / "01_raw"
MOST_FIT, SHOWN = 2000, 8


def main() -> None:
    """Print the tables, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="file of a stored model; default: the newest of Fashion-MNIST")
    parser.add_argument("--images", type=int, default=1000, help="images to paste into, at most")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads")
    parser.add_argument("--choose", action="store_true", help="measure on validation images instead of test images")
    parser.add_argument("--picture", type=Path, help="file of the picture to draw")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = arguments.model or newest_model(DATA / "06_models", "fashionmnist")
    if path is None:
        parser.error("no stored model of Fashion-MNIST; train one, or name a file with --model")
    model = read_model(path)
    flow = model.flow.eval()
    images = images_of(model, arguments.images, arguments.choose)
    candidates = Candidates(flow, images.fit)
    by_map: dict[str, dict[str, Values]] = {}
    bright: dict[str, Values] = {}
    heat_map = candidates.heat_map.calibrate(traced(flow, images.calibration))
    changed = {
        kind: pasted(images.measured, patch) for kind, patch in patches(images, model.record.image_format).items()
    }
    for kind, (with_patch, mask) in changed.items():
        for name, maps in candidates(with_patch).items():
            by_map.setdefault(name, {})[kind] = pixel_auroc(maps, mask)
        bright[f"patch: {kind}"] = share_bright(heat_map, flow, with_patch, mask)
    print(f"{len(images.measured)} images; maps fitted to {len(images.fit)}, scale of {len(images.calibration)}\n")  # noqa: T201
    print_aurocs(by_map)
    print_bright(
        bright, halves_bright(candidates.heat_map, flow, images), share_bright(heat_map, flow, images.measured)
    )
    if arguments.picture:
        picture(heat_map, flow, images.measured, changed).savefig(arguments.picture, dpi=80)


class Images(NamedTuple):
    """Images to measure on, the images for maps to learn from, and what patches are cut from; uint8 (n, C, H, W)."""

    fit: Tensor
    calibration: Tensor
    measured: Tensor
    others: Tensor
    strokes: Tensor
    textures: Tensor


def images_of(model: TrainedGlow, n_images: int, choose: bool) -> Images:
    """Return the images of a stored model's dataset, at most MOST_FIT to learn from and `n_images` to measure on."""
    inside, image_format = model.record.train_table.image_selection, model.record.image_format
    with tempfile.TemporaryDirectory() as folder:

        def table(selection: ImageSelection, split: Split) -> ImageTable:
            path = Path(folder) / f"{selection.key}_{split}"
            if not path.exists():
                plan_table(selection, split, image_format, RAW).write(path)
            return ImageTable(path)

        parts = parts_of(model.record, table(inside, "train"))
        fit, test = drawn(parts.validation), drawn(table(inside, "test"))
        if choose:
            fit, test = fit[: len(fit) // 2], fit[len(fit) // 2 :]
        n = min(n_images, len(test) * 3 // 4)
        strokes, textures = (drawn(table(ImageSelection.of(name), "test")) for name in ("mnist", "textures"))
        calibration = drawn(parts.calibration.table)[:MOST_FIT]
    return Images(fit[:MOST_FIT], calibration, test[:n], test[n:], strokes, textures)


def drawn(table: ImageTable) -> Tensor:
    """Return at most 2 x MOST_FIT images of a table in a random order."""
    return table[np.random.default_rng(SEED).permutation(len(table))[: 2 * MOST_FIT]][0]


def crops(source: Tensor, n: int, side: int, contrast: float, random: np.random.Generator) -> Tensor:
    """Cut n random squares from images, each with at least this standard deviation of its 8-bit pixels."""
    found: list[Tensor] = []
    while len(found) < n:
        image = source[random.integers(len(source))]
        top, left = (int(random.integers(length - side + 1)) for length in image.shape[1:])
        crop = image[:, top : top + side, left : left + side]
        if float(crop.double().std()) >= contrast:
            found.append(crop)
    return torch.stack(found)


def patches(images: Images, image_format: ImageFormat) -> dict[str, Tensor]:
    """Return a patch of each kind for each measured image, uint8 (n, C, side, side) below 2**n_bits."""
    random, n, unit = np.random.default_rng(SEED), len(images.measured), 2**image_format.n_bits / 256
    side = min(image_format.shape[1:]) // 4
    flat = torch.full((n, image_format.channels, side, side), 2 ** (image_format.n_bits - 1), dtype=torch.uint8)
    return {
        "stroke": crops(images.strokes, n, side, 80 * unit, random),
        "texture": crops(images.textures, n, side, 15 * unit, random),
        "other image": crops(images.others, n, side, 15 * unit, random),
        "flat grey": flat,
    }


def pasted(images: Tensor, patch: Tensor) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return images with patches at random places, a sixteenth of the side from the edge at least, and their masks."""
    random, changed, side = np.random.default_rng(SEED + 1), images.clone(), patch.shape[-1]
    height, width = images.shape[2:]
    margin, mask = min(height, width) // 16, np.zeros((len(images), height, width), dtype=bool)
    for i in range(len(images)):
        top, left = (int(random.integers(margin, length - side - margin + 1)) for length in (height, width))
        changed[i, :, top : top + side, left : left + side] = patch[i]
        mask[i, top : top + side, left : left + side] = True
    return changed, mask


def pixel_auroc(maps: Values, mask: NDArray[np.bool_]) -> Values:
    """Return the AUROC over each image's pixels, patch positive, ties half: (n, H, W) twice -> (n,)."""
    inside = mask.reshape(len(mask), -1)
    ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
    n_in, n_out = inside.sum(axis=1), (~inside).sum(axis=1)
    return ((ranks * inside).sum(axis=1) - n_in * (n_in + 1) / 2) / (n_in * n_out)


def interval(values: Values, digits: int = 3) -> str:
    """Return the mean over images, and its 95% bootstrap interval."""
    random = np.random.default_rng(SEED)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def print_aurocs(by_map: Mapping[str, Mapping[str, Values]]) -> None:
    """Print a row a map: its AUROC of each kind and on average, and the differences to two controls."""
    kinds = list(next(iter(by_map.values())))
    mean = {name: np.mean(list(each.values()), axis=0) for name, each in by_map.items()}
    print(f"| map | {' | '.join(kinds)} | mean [95%] | minus Sobel | minus blocks |\n|{'---|' * (len(kinds) + 4)}")  # noqa: T201
    for name, each in by_map.items():
        cells = [f"{each[kind].mean():.3f}" for kind in kinds]
        cells += [interval(mean[name]), *("" if name == c else interval(mean[name] - mean[c]) for c in (SOBEL, BLOCKS))]
        print(f"| {name} | {' | '.join(cells)} |")  # noqa: T201


def share_bright(heat_map: HeatMap, flow: Glow, images: Tensor, where: NDArray[np.bool_] | None = None) -> Values:
    """Return the share of each image's pixels above .99, (n,), of all pixels or where the mask is set."""
    above = np.concatenate([heat_map.surprise(batch) > 0.99 for batch in traced(flow, images)])
    if where is None:
        return above.mean(axis=(1, 2))
    return (above & where).sum(axis=(1, 2)) / where.sum(axis=(1, 2))


def halves_bright(heat_map: HeatMap, flow: Glow, images: Images) -> Values:
    """Return the share of bright pixels of each calibration image, on the scale that the other half of them sets."""
    halves = images.calibration.tensor_split(2)
    scales = [heat_map.calibrate(traced(flow, half)) for half in halves]
    return np.concatenate([share_bright(scales[1 - i], flow, half) for i, half in enumerate(halves)])


def print_bright(patch: Mapping[str, Values], calibration: Values, measured: Values) -> None:
    """Print the share of pixels above .99 in images without a patch, and in the patches."""
    rows = {"calibration images, scale of the other half": calibration, "images without a patch": measured, **patch}
    print("\n| pixels | share above .99, % [95%] | images without any, % |\n|---|---|---|")  # noqa: T201
    for name, values in rows.items():
        print(f"| {name} | {interval(100 * values, 2)} | {100 * (values == 0).mean():.0f} |")  # noqa: T201


def picture(
    heat_map: HeatMap, flow: Glow, images: Tensor, changed: Mapping[str, tuple[Tensor, NDArray[np.bool_]]]
) -> Figure:
    """Draw images without and with each kind of patch, their heat maps below, and the patch's place as a frame."""
    sets = {"no patch": (images, np.zeros((len(images), *images.shape[2:]), dtype=bool)), **changed}
    figure = Figure(figsize=(SHOWN * 0.95, len(sets) * 2.05), layout="constrained")
    axes = figure.subplots(2 * len(sets), SHOWN)
    for row, (name, (pixels, mask)) in enumerate(sets.items()):
        (batch,) = traced(flow, pixels[:SHOWN])
        bright = brightness(heat_map.surprise(batch))
        for i in range(SHOWN):
            above, below = axes[2 * row, i], axes[2 * row + 1, i]
            image = flow.dequantization.expand(pixels[i]).numpy()
            above.imshow(image.mean(axis=0), cmap="gray", vmin=0, vmax=255)
            below.imshow(surprise_pixels(bright[i], image).transpose(1, 2, 0))
            for each in (above, below):
                each.set(xticks=[], yticks=[])
                if mask[i].any():
                    each.contour(mask[i], levels=[0.5], colors="cyan", linewidths=0.8)
        axes[2 * row, 0].set_title(name, fontsize=9, loc="left")
    return figure


if __name__ == "__main__":
    main()
